//! `docs/operating.md` shows the settings there are. `UPDATE_DOCS=1 ./x test settings_table` rewrites it.

use std::path::Path;

const BEGIN: &str = "<!-- settings: generated from server/src/config.rs, UPDATE_DOCS=1 ./x test settings_table -->\n";
const END: &str = "<!-- end of settings -->\n";

#[test]
fn the_settings_table_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let document = std::fs::read_to_string(&path).expect("docs/operating.md is there");
    let (before, rest) = document.split_once(BEGIN).expect("the table's first mark is there");
    let (_, after) = rest.split_once(END).expect("the table's last mark is there");
    let current = format!("{before}{BEGIN}{}{END}{after}", thalweg::config::settings_table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).expect("docs/operating.md can be written");
    } else {
        assert_eq!(document, current, "docs/operating.md is out of date: run UPDATE_DOCS=1 ./x test settings_table");
    }
}
