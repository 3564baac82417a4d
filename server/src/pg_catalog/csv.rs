//! The files of this folder as records: CSV as COPY writes it, with `\N` for null.

/// The records of a file, its head included.
pub fn records(text: &str) -> impl Iterator<Item = Vec<Option<String>>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut record = Vec::new();
        loop {
            let (value, behind) = field(rest);
            record.push(value);
            match behind.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = behind.strip_prefix('\n').unwrap_or(behind);
                    return Some(record);
                }
            }
        }
    })
}

/// The first field, and what follows it.
fn field(text: &str) -> (Option<String>, &str) {
    let Some(mut inside) = text.strip_prefix('"') else {
        let end = text.find([',', '\n']).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return ((value != "\\N").then(|| value.to_owned()), behind);
    };
    let mut value = String::new();
    loop {
        let end = inside.find('"').expect("a quoted field ends with a quote");
        value.push_str(&inside[..end]);
        inside = &inside[end + 1..];
        match inside.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                inside = more;
            }
            None => return (Some(value), inside),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_plain_quoted_empty_or_null() {
        let text = "a,b\n1,\\N\n\"x,\"\"y\"\"\n\",\n";
        let shown: Vec<String> = records(text).map(|record| format!("{record:?}")).collect();
        assert_eq!(shown, [r#"[Some("a"), Some("b")]"#, r#"[Some("1"), None]"#, r#"[Some("x,\"y\"\n"), Some("")]"#,]);
    }
}
