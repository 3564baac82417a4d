//! Every type goes through its text, through an Arrow field and through JSON, and comes back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

use super::{PG_TYPE, PG_TYPES, SqlType, SystemType};

/// One of each kind, in the order of [`PG_TYPES`], with what else users write for it.
fn documented() -> Vec<(SqlType, &'static str)> {
    let point = vec![("x".to_owned(), SqlType::Integer), ("y".to_owned(), SqlType::Text)];
    vec![
        (SqlType::Boolean, "`bool`"),
        (SqlType::SmallInt, "`int2`, `tinyint`"),
        (SqlType::Integer, "`int`, `int4`"),
        (SqlType::BigInt, "`int8`"),
        (SqlType::Real, "`float4`, `float(1)`…`float(24)`"),
        (SqlType::Double, "`float8`, `float`, `double`"),
        (SqlType::Numeric(Some((12, 3))), "`decimal(12,3)`, `dec(12,3)`; precision up to 38; plain `numeric` is kept as (38,10)"),
        (SqlType::Text, "`string`, `name`"),
        (SqlType::Varchar(Some(5)), "`varchar(5)`; the length is kept"),
        (SqlType::Char(5), "`char(5)`, `bpchar(5)`; plain `char` is `char(1)`"),
        (SqlType::Bytea, "`bytes`, `blob`, `varbinary`"),
        (SqlType::Date, ""),
        (SqlType::Time, "`time`; a precision is accepted, microseconds are kept"),
        (SqlType::Timestamp, "`timestamp`, `timestamp(3)`; a precision is accepted, microseconds are kept"),
        (SqlType::TimestampTz, "`timestamptz`"),
        (SqlType::Interval, ""),
        (SqlType::Uuid, ""),
        (SqlType::Json, ""),
        (SqlType::Jsonb, ""),
        (SqlType::Struct(point), "`struct(x int, y text)`, `row(x int, y text)`"),
    ]
}

fn all_types() -> Vec<SqlType> {
    let mut types: Vec<SqlType> = documented().into_iter().map(|(of, _)| of).collect();
    types.extend([SqlType::Numeric(None), SqlType::Numeric(Some((5, -2))), SqlType::Varchar(None), SqlType::Struct(vec![])]);
    let odd_names = ["a b", "Upper", "with \"quote\"", "1st", "", "array", "ünï"];
    types.push(SqlType::Struct(odd_names.iter().map(|name| ((*name).to_owned(), SqlType::Uuid)).collect()));
    types.extend(SystemType::ALL.map(SqlType::System));
    let arrays: Vec<SqlType> = types.iter().map(|item| SqlType::Array(Box::new(item.clone()))).collect();
    let arrays_of_arrays: Vec<SqlType> = arrays.iter().map(|item| SqlType::Array(Box::new(item.clone()))).collect();
    types.extend(arrays);
    types.extend(arrays_of_arrays);
    types.push(SqlType::Struct(types.iter().enumerate().map(|(index, of)| (format!("f{index}"), of.clone())).collect()));
    types
}

#[test]
fn every_type_survives_text_field_and_json() {
    for of in all_types() {
        assert_eq!(of.to_string().parse(), Ok(of.clone()), "{of}");
        assert_eq!(SqlType::of_field(&of.field("c", true)), of, "{of}");
        let json = serde_json::to_string(&of).expect("a type is JSON");
        assert_eq!(serde_json::from_str::<SqlType>(&json).expect("its own JSON"), of);
    }
}

#[test]
fn text_has_the_usual_spellings() {
    let check = |text: &str, expected: &str| match text.parse::<SqlType>() {
        Ok(of) => assert_eq!(of.to_string(), expected, "{text}"),
        Err(error) => assert_eq!(format!("{}: {error}", error.sqlstate()), expected, "{text}"),
    };
    check("INT", "integer");
    check("pg_catalog.int4", "integer");
    check(" Character  Varying ( 5 ) ", "character varying(5)");
    check("varchar", "character varying");
    check("char", "character(1)");
    check("TIMESTAMP(3)", "timestamp without time zone");
    check("TIMESTAMP(3) WITH TIME ZONE", "timestamp with time zone");
    check("timestamptz(6)", "timestamp with time zone");
    check("time(6) without time zone", "time without time zone");
    check("numeric(12)", "numeric(12,0)");
    check("DECIMAL(38, 10)", "numeric(38,10)");
    check("FLOAT", "double precision");
    check("float(24)", "real");
    check("int[]", "integer[]");
    check("int[3][4]", "integer[][]");
    check("int array", "integer[]");
    check("array<array<varchar(5)>>", "character varying(5)[][]");
    check("STRUCT<A int, \"B\" text[]>", "struct<a integer, \"B\" text[]>");
    check("row(a int)[]", "struct<a integer>[]");
    check("", "42704: type \"\" does not exist");
    check("int int", "42704: type \"int int\" does not exist");
    check("int[", "42704: type \"int[\" does not exist");
    check("geometry", "42704: type \"geometry\" does not exist");
    check("time with time zone", "42704: type \"time with time zone\" does not exist");
    check("numeric(39)", "22023: NUMERIC precision 39 must be between 1 and 38");
    check("numeric(3,4)", "22023: NUMERIC scale 4 must be between -38 and precision 3");
    check("varchar(0)", "22023: length of a character type must be between 1 and 10485760");
    check("struct<a int, a int>", "22023: field \"a\" of a struct is there twice");
    check(&"array<".repeat(100_000), "22023: types can be nested 64 deep at most");
    check(&format!("int{}", "[]".repeat(100_000)), "22023: an array can have 64 dimensions at most");
}

#[test]
fn typmods_are_those_of_postgres() {
    let typmod = |text: &str| text.parse::<SqlType>().expect("a type").typmod();
    assert_eq!(typmod("varchar(5)"), 9);
    assert_eq!(typmod("char(5)"), 9);
    assert_eq!(typmod("numeric(12,3)"), ((12 << 16) | 3) + 4);
    assert_eq!(typmod("numeric(5,-2)"), ((5 << 16) | (-2 & 0x7ff)) + 4);
    assert_eq!(typmod("varchar(5)[]"), 9);
    assert_eq!(typmod("numeric"), -1);
    assert_eq!(typmod("text"), -1);
}

#[test]
fn oids_go_both_ways() {
    for (of, _) in documented() {
        let array = SqlType::Array(Box::new(of.clone()));
        assert_eq!(array.oid(), of.pg().array_oid);
        if matches!(of, SqlType::Struct(_)) {
            assert_eq!(SqlType::of_oid(of.oid()), None, "a struct's fields are not in its oid");
            continue;
        }
        let back = SqlType::of_oid(of.oid()).expect("known");
        assert_eq!(back.arrow(), if matches!(of, SqlType::Numeric(_)) { SqlType::Numeric(None).arrow() } else { of.arrow() });
        assert_eq!(SqlType::of_oid(array.oid()), Some(SqlType::Array(Box::new(back))));
    }
    assert_eq!(SqlType::of_oid(705), None);
    let deep: SqlType = "int[][]".parse().expect("a type");
    assert_eq!((deep.oid(), deep.pg().name), (1007, "_int4"));
}

#[test]
fn a_field_without_metadata_has_the_type_of_its_arrow_type() {
    let check = |arrow: DataType, expected: &str| {
        assert_eq!(SqlType::of_field(&Field::new("c", arrow.clone(), true)).to_string(), expected, "{arrow}");
    };
    let item = |arrow: DataType| Arc::new(Field::new("element", arrow, false));
    check(DataType::Utf8View, "text");
    check(DataType::LargeUtf8, "text");
    check(DataType::Null, "text");
    check(DataType::UInt8, "smallint");
    check(DataType::UInt16, "integer");
    check(DataType::UInt32, "bigint");
    check(DataType::UInt64, "numeric(20,0)");
    check(DataType::Decimal128(38, 10), "numeric");
    check(DataType::Decimal128(12, 3), "numeric(12,3)");
    check(DataType::Decimal256(76, 4), "numeric(38,4)");
    check(DataType::Timestamp(TimeUnit::Nanosecond, None), "timestamp without time zone");
    check(DataType::Timestamp(TimeUnit::Second, Some("+02:00".into())), "timestamp with time zone");
    check(DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), "text");
    check(DataType::FixedSizeList(item(DataType::Int8), 3), "smallint[]");
    check(DataType::Struct(vec![Field::new("a", DataType::LargeBinary, true)].into()), "struct<a bytea>");
}

#[test]
fn metadata_that_does_not_fit_the_arrow_type_is_not_believed() {
    let metadata = |text: &str| HashMap::from([(PG_TYPE.to_owned(), text.to_owned())]);
    let cast = Field::new("c", DataType::Int32, true).with_metadata(metadata("uuid"));
    assert_eq!(SqlType::of_field(&cast), SqlType::Integer);
    let wider = Field::new("c", DataType::Decimal128(22, 3), true).with_metadata(metadata("numeric(12,3)"));
    assert_eq!(SqlType::of_field(&wider), SqlType::Numeric(Some((22, 3))));
    let view = Field::new("c", DataType::Utf8View, true).with_metadata(metadata("character varying(5)"));
    assert_eq!(SqlType::of_field(&view), SqlType::Varchar(Some(5)));
}

/// `docs/sql.md` has this table between its markers; `THALWEG_BLESS=1` writes it there.
#[test]
fn the_documented_table_is_this_one() {
    let mut table =
        String::from("| SQL type | also written | Arrow | Postgres `typname` | oid | bytes | array oid |\n|---|---|---|---|---|---|---|\n");
    for ((of, aliases), pg) in documented().into_iter().zip(PG_TYPES) {
        assert_eq!(of.pg(), pg, "documented in the order of PG_TYPES");
        let bytes = if pg.len < 0 { "varies".to_owned() } else { pg.len.to_string() };
        let cells = format!("| `{of}` | {aliases} | `{}` | `{}` | {} | {bytes} | {} |", of.arrow(), pg.name, pg.oid, pg.array_oid);
        table.push_str(&format!("{cells}\n"));
    }
    let array = SqlType::Array(Box::new(SqlType::Integer));
    let pg = array.pg();
    table.push_str(&format!("| `{array}` | `int[]`, `array<int>` | `{}` | `{}` | {} | varies | |\n", array.arrow(), pg.name, pg.oid));

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sql.md");
    let text = std::fs::read_to_string(path).expect("docs/sql.md is there");
    let (before, rest) = text.split_once("<!-- types -->\n").expect("docs/sql.md marks where the table starts");
    let (documented, after) = rest.split_once("<!-- /types -->").expect("docs/sql.md marks where the table ends");
    if std::env::var_os("THALWEG_BLESS").is_some() {
        std::fs::write(path, format!("{before}<!-- types -->\n{table}<!-- /types -->{after}")).expect("docs/sql.md can be written");
        return;
    }
    assert_eq!(documented, table, "run this test with THALWEG_BLESS=1 to write the table");
}
