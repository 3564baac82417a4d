//! Scripts: one line is one change, the answer is what the catalog says to it.
//!
//! ```text
//! stream s            table t       view v = s t        sink k = v        function f        schema x
//! drop s              drop s cascade                    drop schema x cascade
//! index i = t (a)
//! replace v = s       replace v = s (b)                 comment s hello   comment s.a hello
//! ```
//! Names may be qualified (`x.s`). Every relation has one column `a`, or those in parentheses.

use std::collections::BTreeMap;

use super::*;
use crate::{Column, Definition, ObjectKind, SqlType, drop_plan};

/// Runs a script and shows the answers, one a line, each after its line of the script.
fn run(script: &str) -> String {
    let mut snapshot = Snapshot::default();
    let mut shown = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let answer = plan(&snapshot, line).and_then(|change| apply(&snapshot, &change).map(|next| (change, next)));
        let answer = match answer {
            Ok((change, next)) => {
                assert_eq!(next.version, snapshot.version + 1);
                assert!(next.next_id >= snapshot.next_id);
                let summary = summary(&snapshot, &change);
                snapshot = next;
                summary
            }
            Err(error) => failure(&error),
        };
        shown.push_str(&format!("{line} -> {answer}\n"));
    }
    shown
}

fn check(script: &str, expected: &str) {
    let trimmed: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(run(script).lines().collect::<Vec<_>>(), trimmed);
}

fn failure(error: &CatalogError) -> String {
    let detail = error.detail().map_or_else(String::new, |detail| format!(" [{}]", detail.replace('\n', "; ")));
    format!("{} {error}{detail}", error.sqlstate())
}

fn summary(before: &Snapshot, change: &Change) -> String {
    let names = |ids: &[ObjectId]| ids.iter().map(|id| before.get(*id).expect("it was there").name.clone()).collect::<Vec<_>>().join(" ");
    match change {
        Change::Drop(ids) => format!("dropped {}", names(ids)),
        Change::DropSchema { name, objects } => format!("dropped {} {name}", names(objects)).replace("  ", " "),
        _ => "ok".into(),
    }
}

/// The change a line asks for.
fn plan(snapshot: &Snapshot, line: &str) -> Result<Change> {
    let (head, reads) = line.split_once('=').unwrap_or((line, ""));
    let words: Vec<&str> = head.split_whitespace().collect();
    let id = snapshot.free_ids().next().expect("ids never end");
    match words.as_slice() {
        ["schema", name] => Ok(Change::CreateSchema { name: (*name).into(), id }),
        ["drop", "schema", name] => drop_schema_plan(snapshot, name, false),
        ["drop", "schema", name, "cascade"] => drop_schema_plan(snapshot, name, true),
        ["drop", names @ .., "cascade"] => Ok(Change::Drop(drop_plan(snapshot, &ids(snapshot, names)?, true)?)),
        ["drop", names @ ..] => Ok(Change::Drop(drop_plan(snapshot, &ids(snapshot, names)?, false)?)),
        ["comment", name, text] => comment(snapshot, name, text),
        ["replace", name] => {
            let old = named(snapshot, name)?.clone();
            Ok(Change::Replace(Object { columns: columns(reads), depends_on: depends_on(snapshot, reads)?, ..old }))
        }
        [kind, name] => create(snapshot, kind, name, reads),
        _ => panic!("no such line: {line}"),
    }
}

fn split(name: &str) -> (Option<&str>, &str) {
    name.split_once('.').map_or((None, name), |(schema, name)| (Some(schema), name))
}

fn named<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Object> {
    let (schema, name) = split(name);
    match snapshot.resolve_function(schema, name) {
        Some(function) if snapshot.resolve(schema, name).is_none() => Ok(function),
        _ => snapshot.resolve_or_fail(schema, name),
    }
}

fn ids(snapshot: &Snapshot, names: &[&str]) -> Result<Vec<ObjectId>> {
    names.iter().map(|name| named(snapshot, name).map(|object| object.id)).collect()
}

fn depends_on(snapshot: &Snapshot, reads: &str) -> Result<Vec<ObjectId>> {
    let names: Vec<&str> = reads.split('(').next().unwrap_or_default().split_whitespace().collect();
    ids(snapshot, &names)
}

fn columns(reads: &str) -> Vec<Column> {
    let names = reads.split_once('(').map_or("a", |(_, names)| names.trim_end_matches(')'));
    let column = |name: &str| Column { name: name.into(), sql_type: SqlType::Text, nullable: true, default: None, comment: None };
    names.split_whitespace().map(column).collect()
}

fn comment(snapshot: &Snapshot, name: &str, text: &str) -> Result<Change> {
    let (relation, column) = match name.split_once('.') {
        Some((relation, column)) => (relation, Some(column.to_owned())),
        None => (name, None),
    };
    Ok(Change::Comment { id: named(snapshot, relation)?.id, column, comment: Some(text.into()) })
}

fn create(snapshot: &Snapshot, kind: &str, name: &str, reads: &str) -> Result<Change> {
    let mut free = snapshot.free_ids();
    let (id, errors) = (free.next().expect("ids never end"), free.next().expect("ids never end"));
    let (query, options) = (String::new(), BTreeMap::new());
    let definition = match kind {
        "stream" => Definition::Stream { options, watermark: None, intake_times: vec![], errors },
        "table" => Definition::Table { primary_key: vec![0], options },
        "view" => Definition::View { query },
        "mview" => Definition::MaterializedView { query, options, errors },
        "sink" => Definition::Sink { query, options, errors },
        "function" => Definition::Function { arguments: vec![], returns: SqlType::Text, body: String::new() },
        "index" => {
            let on = depends_on(snapshot, reads)?.first().copied().unwrap_or(ObjectId(0));
            Definition::Index { on, columns: (0..columns(reads).len()).collect() }
        }
        _ => panic!("no such kind: {kind}"),
    };
    let (schema, name) = split(name);
    let depends_on = depends_on(snapshot, reads)?;
    let object = Object {
        id,
        schema: schema.unwrap_or("public").into(),
        name: name.into(),
        columns: columns(reads),
        definition,
        since: 0,
        depends_on,
        comment: None,
        create_sql: String::new(),
    };
    Ok(match object.errors() {
        None => Change::Create(object),
        Some(_) => Change::CreateMany(vec![object.clone(), errors_of(&object, errors)]),
    })
}

fn errors_of(owner: &Object, id: ObjectId) -> Object {
    let name = format!("{}$errors", owner.name);
    Object { id, name, definition: Definition::Errors { owner: owner.id }, depends_on: vec![], ..owner.clone() }
}

#[test]
fn names_are_unique_in_their_namespace() {
    check(
        "stream s\n table s\n view s$errors\n function s\n function s\n schema x\n schema x\n table x.s\n table y.s\n table thalweg.s\n schema pg_x",
        "stream s -> ok
         table s -> 42P07 relation \"s\" already exists
         view s$errors -> 42P07 relation \"s$errors\" already exists
         function s -> ok
         function s -> 42723 function \"s\" already exists
         schema x -> ok
         schema x -> 42P06 schema \"x\" already exists
         table x.s -> ok
         table y.s -> 3F000 schema \"y\" does not exist
         table thalweg.s -> 42501 permission denied for schema \"thalweg\"
         schema pg_x -> 42501 permission denied for schema \"pg_x\"",
    );
}

#[test]
fn a_drop_names_its_dependents_or_takes_them_along() {
    check(
        "stream s\n table t\n mview v = s t\n view w = v\n sink k = w\n view e = s$errors\n drop s\n drop s w\n drop k\n drop s$errors\n drop nobody
         drop s t cascade\n drop s\n table t",
        "stream s -> ok
         table t -> ok
         mview v = s t -> ok
         view w = v -> ok
         sink k = w -> ok
         view e = s$errors -> ok
         drop s -> 2BP01 cannot drop stream s because other objects depend on it [materialized view v depends on stream s; \
            view w depends on materialized view v; sink k depends on view w; view e depends on errors relation s$errors]
         drop s w -> 2BP01 cannot drop stream s, view w because other objects depend on it [materialized view v depends on stream s; \
            sink k depends on view w; view e depends on errors relation s$errors]
         drop k -> dropped k$errors k
         drop s$errors -> 2BP01 cannot drop errors relation s$errors because stream s requires it
         drop nobody -> 42P01 relation \"nobody\" does not exist
         drop s t cascade -> dropped e w v$errors v t s$errors s
         drop s -> 42P01 relation \"s\" does not exist
         table t -> ok",
    );
}

#[test]
fn indexes_go_with_their_relation_and_stay_for_their_readers() {
    check(
        "table t\n schema x\n index i = t\n index i = t\n index x.i = t\n index k = t i\n index l = t ()\n mview v = t i\n drop i\n drop t\n \
         drop v\n drop i\n index i = t\n mview w = t i\n drop i cascade\n index i = t\n drop t",
        "table t -> ok
         schema x -> ok
         index i = t -> ok
         index i = t -> 42P07 relation \"i\" already exists
         index x.i = t -> XX000 inconsistent catalog change: index x.i by [0] of 16384
         index k = t i -> XX000 inconsistent catalog change: index k by [0] of 16384
         index l = t () -> XX000 inconsistent catalog change: index l by [] of 16384
         mview v = t i -> ok
         drop i -> 2BP01 cannot drop index i because other objects depend on it [materialized view v depends on index i]
         drop t -> 2BP01 cannot drop table t because other objects depend on it [materialized view v depends on index i; \
            materialized view v depends on table t]
         drop v -> dropped v$errors v
         drop i -> dropped i
         index i = t -> ok
         mview w = t i -> ok
         drop i cascade -> dropped w$errors w i
         index i = t -> ok
         drop t -> dropped i t",
    );
}

#[test]
fn all_of_a_group_can_be_dropped_together() {
    check("stream s\n view v = s\n drop s v", "stream s -> ok\n view v = s -> ok\n drop s v -> dropped v s$errors s");
}

#[test]
fn a_schema_goes_when_it_is_empty_or_with_all_that_needs_it() {
    check(
        "schema x\n stream x.s\n view v = x.s\n drop schema x\n drop schema x cascade\n drop v\n table x.t\n drop schema public\n schema y\n drop schema y",
        "schema x -> ok
         stream x.s -> ok
         view v = x.s -> ok
         drop schema x -> 2BP01 cannot drop schema \"x\" because other objects depend on it [stream x.s depends on schema x; \
            errors relation x.s$errors depends on schema x]
         drop schema x cascade -> dropped v s$errors s x
         drop v -> 42P01 relation \"v\" does not exist
         table x.t -> 3F000 schema \"x\" does not exist
         drop schema public -> 42501 permission denied for schema \"public\"
         schema y -> ok
         drop schema y -> dropped y",
    );
}

#[test]
fn a_replacement_keeps_what_its_dependents_rely_on() {
    check(
        "table t\n table u\n view v = t\n replace v = u (b)\n view w = v (b)\n replace v = t (a)\n replace v = t (b c)\n replace v = w (b c)\n \
         replace v = v (b c)\n drop u\n drop t",
        "table t -> ok
         table u -> ok
         view v = t -> ok
         replace v = u (b) -> ok
         view w = v (b) -> ok
         replace v = t (a) -> 42P16 cannot replace view v: columns that other objects may depend on would change
         replace v = t (b c) -> ok
         replace v = w (b c) -> 42P16 cannot replace view v: it would depend on itself
         replace v = v (b c) -> 42P16 cannot replace view v: it would depend on itself
         drop u -> dropped u
         drop t -> 2BP01 cannot drop table t because other objects depend on it [view v depends on table t; view w depends on view v]",
    );
}

#[test]
fn comments_are_on_what_there_is() {
    check(
        "table t\n comment t hello\n comment t.a hello\n comment t.b hello\n comment u hello\n table d = (x y x)",
        "table t -> ok
         comment t hello -> ok
         comment t.a hello -> ok
         comment t.b hello -> 42703 column \"b\" of relation \"t\" does not exist
         comment u hello -> 42P01 relation \"u\" does not exist
         table d = (x y x) -> 42701 column \"x\" specified more than once",
    );
}

/// A snapshot with stream `s`, and the stream itself.
fn with_stream() -> (Snapshot, Object) {
    let change = plan(&Snapshot::default(), "stream s").expect("a stream");
    let snapshot = apply(&Snapshot::default(), &change).expect("is made");
    let stream = snapshot.find("public", "s").expect("is there").clone();
    (snapshot, stream)
}

#[test]
fn ids_are_never_used_twice() {
    let (snapshot, stream) = with_stream();
    assert_eq!((stream.id.0, snapshot.next_id.0), (16_384, 16_386));
    let plan = drop_plan(&snapshot, &[stream.id], false).expect("nothing depends on it");
    let dropped = apply(&snapshot, &Change::Drop(plan)).expect("drops");
    assert_eq!((dropped.objects.len(), dropped.next_id), (0, snapshot.next_id));
    let again = Object { definition: Definition::View { query: String::new() }, ..stream };
    let error = apply(&dropped, &Change::Create(again)).expect_err("its id was used");
    assert_eq!(failure(&error), "XX000 inconsistent catalog change: id 16384 is not new: the next is 16386");
}

#[test]
fn broken_promises_are_refused() {
    let (snapshot, stream) = with_stream();
    let refused = |change: Change| failure(&apply(&snapshot, &change).expect_err("it breaks a promise"));
    let errors = stream.errors().expect("a stream has one");
    let lone = Object { id: ObjectId(16_386), name: "lone".into(), ..stream.clone() };
    let expected = "XX000 inconsistent catalog change: stream lone and its errors relation do not belong together";
    assert_eq!(refused(Change::Create(lone.clone())), expected);
    let view = |depends_on: &[u32]| {
        let depends_on = depends_on.iter().map(|id| ObjectId(*id)).collect();
        Change::Create(Object { definition: Definition::View { query: String::new() }, depends_on, ..lone.clone() })
    };
    assert_eq!(refused(view(&[99])), "42704 object 99 does not exist");
    assert_eq!(refused(view(&[16_386])), "42704 object 16386 does not exist");
    assert_eq!(refused(view(&[16_384, 16_384])), "XX000 inconsistent catalog change: view lone depends on 16384 twice");
    assert_eq!(
        refused(Change::Drop(vec![stream.id])),
        "XX000 inconsistent catalog change: errors relation s$errors goes with its counterpart"
    );
    assert_eq!(refused(Change::Drop(vec![errors])), "XX000 inconsistent catalog change: stream s goes with its counterpart");
    assert_eq!(refused(Change::Drop(vec![errors, errors])), "42704 object 16385 does not exist");
    let keyed =
        |primary_key| Change::Create(Object { definition: Definition::Table { primary_key, options: BTreeMap::new() }, ..lone.clone() });
    assert_eq!(refused(keyed(vec![1])), "XX000 inconsistent catalog change: primary key [1] of table lone");
    assert_eq!(refused(keyed(vec![0, 0])), "XX000 inconsistent catalog change: primary key [0, 0] of table lone");
    assert_eq!(refused(Change::Replace(lone)), "42704 object 16386 does not exist");
}

#[test]
fn names_are_found_along_the_search_path() {
    let (snapshot, stream) = with_stream();
    assert_eq!(snapshot.resolve(None, "s"), Some(&stream));
    assert_eq!(snapshot.resolve(Some("public"), "s"), Some(&stream));
    assert_eq!(snapshot.resolve(Some("thalweg"), "s"), None);
    let failed = |schema| failure(&snapshot.resolve_or_fail(schema, "none").expect_err("there is none"));
    assert_eq!(failed(None), "42P01 relation \"none\" does not exist");
    assert_eq!(failed(Some("public")), "42P01 relation \"public.none\" does not exist");
    assert_eq!(failed(Some("x")), "3F000 schema \"x\" does not exist");
    assert_eq!(snapshot.get(stream.errors().expect("has one")).map(Object::kind), Some(ObjectKind::Errors));
}

/// A chain of views as deep as nobody makes, and a wide one: dropped in order, without recursion.
#[test]
fn deep_and_wide_dependencies_are_dropped_in_order() {
    let (mut snapshot, stream) = with_stream();
    let template = Object { definition: Definition::View { query: String::new() }, columns: vec![], ..stream.clone() };
    for index in 0..20_000 {
        let id = snapshot.next_id;
        let depends_on = vec![if index % 2 == 0 { stream.id } else { ObjectId(id.0 - 1) }, ObjectId((id.0 - 2).max(16_384))];
        let depends_on = BTreeSet::from_iter(depends_on).into_iter().collect();
        snapshot.objects.insert(id, Object { id, name: format!("v{index}"), depends_on, ..template.clone() });
        snapshot.next_id = id.next();
    }
    let plan = drop_plan(&snapshot, &[stream.id], true).expect("cascades");
    assert_eq!(plan.len(), 20_002);
    let place: BTreeMap<ObjectId, usize> = plan.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    for object in snapshot.objects.values() {
        assert!(object.depends_on.iter().all(|used| place[used] > place[&object.id]), "{} goes before what it reads", object.name);
    }
    assert_eq!(apply(&snapshot, &Change::Drop(plan)).expect("drops").objects.len(), 0);
}
