"""Makes random SELECTs over five small tables, for random_with_postgres.py, which says what they are for and what is left out.

A seed decides a query. Few names are used for everything, so that tables, aliases, columns and outputs collide and shadow each
other wherever SQL gives that a meaning; the generator knows which name means what. A query is a tree of pieces (`Sql`), so that
it can be made smaller.
"""
import dataclasses
import random
import re

TABLES = {
    "t": {"k": "integer", "a": "integer", "b": "integer", "c": "text", "d": "numeric", "g": "boolean"},
    "u": {"k": "integer", "a": "integer", "b": "integer", "c": "text", "e": "double", "g": "boolean"},
    "v": {"k": "integer", "a": "integer", "c": "text", "s": "timestamp"},
    "w": {"k": "integer", "b": "integer", "d": "numeric", "s": "timestamp", "x": "text"},
    "z": {"k": "integer", "a": "integer"},
}
ROWS = {
    "t": "(1,1,1,'a',1.50,true), (2,1,2,'b',2.00,false), (3,2,null,'a',null,null), (4,null,3,null,1.50,true),"
         "(5,3,1,'',0.25,false), (6,null,null,'b',-1.00,null), (7,2,0,'abc',2.00,true)",
    "u": "(1,1,1,'a',0.5,true), (2,2,2,'b',1.5,null), (3,2,null,null,null,false), (4,null,1,'c',2,true),"
         "(5,4,3,'a',-1.25,false), (6,0,0,'',0.5,true)",
    "v": "(1,1,'a','2024-01-01'), (2,null,'b','2024-01-31 12:30'), (3,3,null,null), (4,2,'b','2024-02-29 23:59:59'),"
         "(5,2,'d','2024-01-01')",
    "w": "(1,1,1.50,'2024-01-01','a'), (2,2,null,'2023-12-31 23:00','b'), (3,null,2.00,null,'1'), (4,3,0.25,'2024-02-29 23:59:59',null)",
    "z": "(1,1), (2,2), (3,null)",
}
COLUMN_TYPES = {"integer": "integer", "numeric": "numeric(10,2)", "double": "double precision", "text": "text", "boolean": "boolean",
                "timestamp": "timestamp"}
NUMBERS = ["integer", "numeric", "double"]

# No alias is a column's name (see the docstring); but aliases are tables' names, and outputs have columns' names.
ALIASES = ["t", "u", "v", "w", "z", "y", "q", "m", "n"]
NAMES = ["a", "b", "k", "c", "x", "g", "d"]

LITERALS = {
    "integer": ["0", "1", "2", "3", "NULL::integer"],
    "numeric": ["1.5", "2.00", "0.25", "NULL::numeric(10,2)"],
    "double": ["0.5::double precision", "2::double precision", "NULL::double precision"],
    "text": ["'a'", "'b'", "''", "NULL::text"],
    "boolean": ["true", "false", "NULL::boolean"],
    "timestamp": ["timestamp '2024-01-01'", "timestamp '2024-01-31 12:30'", "NULL::timestamp"],
}
# Expressions of each type; {same} is one of that type.
FORMS = {
    "integer": ["({integer} + {integer})", "({integer} - {integer})", "({integer} * {integer})", "(- {integer})", "abs({integer})",
                "length({text})", "({boolean})::integer", "({numeric})::integer", "({integer}::integer % 2)",
                "extract(day FROM {timestamp})::integer"],
    "numeric": ["({numeric} + {numeric})", "({numeric} - {integer})", "({numeric} * 2)", "round({numeric}, 1)",
                "({integer})::numeric(10,2)", "({integer} * 0.5)"],
    "double": ["({double} + {double})", "({double} - {integer})", "({double} * 2)", "({integer})::double precision"],
    "text": ["({text} || {text})", "upper({text})", "substr({text}, 1, 1)", "({integer})::text"],
    "boolean": ["({integer} = {integer})", "({integer} < {integer})", "({text} <> {text})", "({numeric} >= {integer})",
                "({double} < {numeric})", "({timestamp} > {timestamp})", "({boolean} AND {boolean})", "({boolean} OR {boolean})",
                "(NOT {boolean})", "({boolean} IS NOT TRUE)", "({integer} IS NULL)", "({text} IS NOT NULL)",
                "({integer} IS NOT DISTINCT FROM {integer})", "({text} IS DISTINCT FROM {text})",
                "({integer} IN ({integer}, {integer}, 1))", "({integer} NOT IN ({integer}, 2))",
                "({integer} BETWEEN {integer} AND {integer})", "({text} LIKE 'a%')"],
    "timestamp": ["({timestamp} + interval '1 day')", "date_trunc('month', {timestamp})"],
}
FORMS_OF_ALL_TYPES = ["coalesce({same}, {same})", "CASE WHEN {boolean} THEN {same} ELSE {same} END", "nullif({same}, {same})",
                      "CASE WHEN {boolean} THEN {same} END"]
# Aggregates by the type of their value: the type of the argument, and the call.
AGGREGATES = {
    "integer": [("integer", "sum({})"), ("integer", "max({})"), ("integer", "min({})"), ("integer", "count(DISTINCT {})"),
                ("text", "count({})"), ("boolean", "count({})"), ("integer", "sum(DISTINCT {})"), (None, "count(*)")],
    "numeric": [("numeric", "sum({})"), ("numeric", "max({})"), ("integer", "avg({})")],
    "double": [("double", "sum({})"), ("double", "min({})")],
    "text": [("text", "max({})"), ("text", "min({})"), ("text", "string_agg({}, ',' ORDER BY {} DESC)"),
             ("text", "string_agg(DISTINCT {}, ',' ORDER BY {})"),
             ("integer", "array_to_string(array_agg({} ORDER BY {} NULLS FIRST), ',', 'null')")],
    "boolean": [("boolean", "bool_and({})"), ("boolean", "bool_or({})")],
    "timestamp": [("timestamp", "max({})"), ("timestamp", "min({})")],
}
WINDOW_AGGREGATES = {
    "integer": ["sum({integer})", "count({text})", "max({integer})", "count(*)"], "numeric": ["sum({numeric})", "avg({integer})"],
    "double": ["sum({double})"], "text": ["max({text})"], "boolean": ["bool_or({boolean})"], "timestamp": ["min({timestamp})"],
}
FRAMES = ["UNBOUNDED PRECEDING", "BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", "BETWEEN 1 PRECEDING AND 1 FOLLOWING",
          "BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING", "BETWEEN 1 FOLLOWING AND 2 FOLLOWING", "1 PRECEDING"]
DIRECTIONS = ["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"]
COMPARISONS = [" = ", " = ", " = ", " <= ", " > ", " <> ", " IS NOT DISTINCT FROM "]
JOINS = ["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"]
SET_OPERATIONS = ["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]


# ---------------------------------------------------------------- pieces of SQL
class Sql:
    """A piece of SQL, of texts and smaller pieces, so that it can be made smaller: see `edits`."""

    def __init__(self, kind, *parts, separator=""):
        self.kind, self.parts, self.separator = kind, list(parts), separator

    def __str__(self):
        return self.separator.join(str(part) for part in self.parts)

    def pieces(self):
        """This piece and all below it, the largest first."""
        yield self
        for part in self.parts:
            if isinstance(part, Sql):
                yield from part.pieces()


def optional(*parts):
    return Sql("optional", *parts)


def listed(parts, separator=", "):
    return Sql("list", *parts, separator=separator)


def where(conditions):
    return optional(" WHERE ", listed(conditions, " AND ")) if conditions else ""


def window_clause(windows):
    return optional(" WINDOW ", listed(windows)) if windows else ""


# ---------------------------------------------------------------- names that can be seen
@dataclasses.dataclass
class Column:
    name: str
    type: str
    key: tuple = None  # of which relation, or of which USING


@dataclasses.dataclass
class Relation:
    alias: str
    columns: list


@dataclasses.dataclass
class Scope:
    """The relations of one FROM, and the columns of its `*`, which are what bare names mean. After GROUP BY only `grouped` remain."""
    relations: list
    columns: list
    grouped: list = None

    def beside(self, other):
        return Scope(self.relations + other.relations, self.columns + other.columns)

    def may_use(self, key):
        return self.grouped is None or key in self.grouped

    def all_columns(self):
        """Names of all columns there are, or none when some cannot be named."""
        names = [f"{relation.alias}.{column.name}" for relation in self.relations for column in relation.columns]
        return names if len(set(names)) == len(names) else []


@dataclasses.dataclass
class Reference:
    text: str
    level: int  # 0 is the innermost query
    key: tuple


def scope_of(alias, columns):
    columns = [Column(column.name, column.type, (alias, column.name)) for column in columns]
    return Scope([Relation(alias, columns)], columns)


def once(name, columns):
    return sum(column.name == name for column in columns) == 1


def references(scopes, type_):
    """All ways to name a column of a type, in scopes from the innermost on."""
    found, inner_aliases, inner_names = [], set(), set()
    for level, scope in enumerate(scopes):
        for relation in scope.relations:
            for column in relation.columns:
                if relation.alias not in inner_aliases and once(column.name, relation.columns):
                    found.append((column, Reference(f"{relation.alias}.{column.name}", level, (relation.alias, column.name))))
        for column in scope.columns:
            if column.name not in inner_names and once(column.name, scope.columns):
                found.append((column, Reference(column.name, level, column.key)))
        inner_aliases.update(relation.alias for relation in scope.relations)
        inner_names.update(column.name for column in scope.columns)
    return [reference for column, reference in found if column.type == type_ and scopes[reference.level].may_use(reference.key)]


@dataclasses.dataclass
class Place:
    """Where an expression stands: the names it sees, and what it may hold."""
    scopes: list
    arguments: list = None  # the scopes inside of an aggregate, where it may hold one
    keys: list = dataclasses.field(default_factory=list)  # (text, type) of expressions that are grouped by
    subqueries: bool = True

    def plain(self):
        return dataclasses.replace(self, subqueries=False)


# ---------------------------------------------------------------- the generator
@dataclasses.dataclass
class Query:
    """A query with its outputs, and its ORDER BY, which has all of these."""
    sql: Sql
    columns: list
    order: Sql = None

    def n_ordered(self):
        """How many columns its ORDER BY has, if that is still there."""
        return len(self.columns) if any(piece is self.order for piece in self.sql.pieces()) else None


class Generator:
    """Makes the query of a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.common_tables = {}
        self.n_merged = 0
        self.budget = self.one_of([15, 30, 60])
        self.subquery_chance = self.one_of([0.05, 0.1, 0.2, 0.35])

    def one_of(self, choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    def statement(self):
        """The query, as the only part of a piece so that all of it can be replaced."""
        query = self.query([], self.one_of([1, 2, 2, 3]), is_top=True)
        return Query(Sql("statement", query.sql), query.columns, query.order)

    # ------------------------------------------------------------ queries
    def query(self, outer, depth, types=None, is_top=False):
        if depth > 0 and self.chance(0.1):
            return self.with_common_table(outer, depth, types, is_top)
        if depth > 0 and self.chance(0.12):
            return self.set_operation(outer, depth, types, is_top)
        return self.select(outer, depth, types, is_top)

    def with_common_table(self, outer, depth, types, is_top):
        free = [name for name in ["t", "u", "y", "q"] if name not in self.common_tables]
        if not free:
            return self.select(outer, depth, types, is_top)
        name, body = self.one_of(free), self.query(outer, depth - 1, self.some_types())
        columns = [Column(column_name, column.type) for column_name, column in zip(NAMES, body.columns)]
        self.common_tables[name] = columns
        query = self.select(outer, depth, types, is_top)
        del self.common_tables[name]
        names = ", ".join(column.name for column in columns)
        return dataclasses.replace(query, sql=Sql("query", f"WITH {name} ({names}) AS (", body.sql, ") ", query.sql))

    def set_operation(self, outer, depth, types, is_top):
        types = types or self.some_types()
        first = self.select(outer, depth - 1, types, may_limit=False)
        parts = ["(", first.sql, ")"]
        for _ in range(self.one_of([1, 1, 1, 2])):
            narrower = [self.one_of(NUMBERS[:NUMBERS.index(type_) + 1]) if type_ in NUMBERS else type_ for type_ in types]
            branch = self.select(outer, depth - 1, narrower, may_limit=False)
            parts.append(optional(f" {self.one_of(SET_OPERATIONS)} (", branch.sql, ")"))
        order = self.order_by(first.columns, None) if is_top and self.chance(0.5) else ""
        return Query(Sql("query", *parts, order), first.columns, order)

    def some_types(self):
        return [self.one_of(["integer", "integer", "integer", *COLUMN_TYPES]) for _ in range(self.one_of([1, 2, 2, 3]))]

    def select(self, outer, depth, types=None, is_top=False, may_limit=True):
        source, scope = self.from_clause(outer, depth, is_small=not is_top)
        scopes = [scope, *outer]
        conditions = self.conditions(scopes, depth)
        if types is None and self.chance(0.15):
            return self.select_star(source, scope, conditions)
        types = types or [type_ if references(scopes, type_) else "integer" for type_ in self.some_types()]
        if self.chance(0.35):
            return self.select_groups(source, scopes, conditions, types, depth, is_top, may_limit)
        place = Place(scopes)
        windows = []
        items = [self.window(type_, place, scope.all_columns(), windows) if self.chance(0.1) else self.expression(type_, place, depth)
                 for type_ in types]
        written, columns = self.output(items, types)
        distinct, order = self.distinct_and_order(columns, place, is_top, may_limit)
        clauses = [where(conditions), window_clause(windows), order]
        return Query(Sql("query", "SELECT ", distinct, written, " FROM ", source, *clauses), columns, order)

    def select_star(self, source, scope, conditions):
        star, columns = "*", scope.columns
        if self.chance(0.4):
            relation = self.one_of(scope.relations)
            star, columns = f"{relation.alias}.*", relation.columns
        return Query(Sql("query", f"SELECT {star} FROM ", source, where(conditions)), columns)

    def output(self, items, types):
        """The select list, and its columns: most have an alias, and a column may go without."""
        columns, written = [], []
        for item, type_ in zip(items, types):
            name = self.one_of(NAMES)
            if re.fullmatch(r"(\w+\.)?[a-z]", str(item)) and self.chance(0.5):
                name = str(item).split(".")[-1]
                written.append(item)
            else:
                written.append(Sql("item", item, f" AS {name}"))
            columns.append(Column(name, type_))
        return listed(written), columns

    def select_groups(self, source, scopes, conditions, types, depth, is_top, may_limit):
        scope = scopes[0]
        keys, columns = self.grouping_keys(scopes)
        grouped = Scope(scope.relations, scope.columns, columns)
        place = Place([grouped, *scopes[1:]], arguments=scopes, keys=[key for key in keys if key[0].startswith("(")])
        sets = self.one_of(["", "", "", "ROLLUP ", "CUBE "]) if keys else ""
        windows = []
        items = [self.window(type_, place, [], windows) if self.chance(0.08) else self.expression(type_, place, depth) for type_ in types]
        items = self.with_keys(items, types, keys)
        if not keys:
            items[0] = self.aggregate(types[0], scopes, depth) or items[0]
        having = optional(" HAVING ", self.expression("boolean", place, depth)) if self.chance(0.25) else ""
        has_windows = any(" OVER " in str(item) for item in items)
        if sets and not has_windows and types[-1] == "integer" and self.chance(0.3):
            items[-1] = Sql("integer", f"grouping({keys[0][0]})")
        written, outputs = self.output(items, types)
        distinct, order = self.distinct_and_order(outputs, place, is_top, may_limit)
        group_by = self.group_by(keys, sets, written, outputs, scope)
        clauses = [where(conditions), group_by, having, window_clause(windows), order]
        return Query(Sql("query", "SELECT ", distinct, written, " FROM ", source, *clauses), outputs, order)

    def grouping_keys(self, scopes):
        """What is grouped by, as (text, type), and which columns may be used after that."""
        keys, columns = [], []
        for _ in range(self.one_of([0, 1, 1, 2])):
            type_ = self.one_of(["integer", "integer", "text", "boolean", "numeric"])
            reference = self.reference(scopes, type_, is_local=True)
            if not reference or any(reference.text in text for text, _ in keys):
                continue
            if type_ == "integer" and self.chance(0.3):
                keys.append((f"({reference.text} + 1)", type_))
            else:
                keys.append((reference.text, type_))
                columns.append(reference.key)
        return keys, columns

    def with_keys(self, items, types, keys):
        """Some items become keys, so that GROUP BY can name them."""
        for index, type_ in enumerate(types):
            fitting = [text for text, key_type in keys if key_type == type_]
            if fitting and self.chance(0.5):
                items[index] = Sql(type_, self.one_of(fitting))
        return items

    def group_by(self, keys, sets, written, outputs, scope):
        """Keys are written out, or as the place or alias of an item that is the key. A column goes before an alias."""
        if not keys:
            return ""
        items = [str(item.parts[0]) if item.kind == "item" else str(item) for item in written.parts]
        columns_of_from = [column.name for column in scope.columns]
        spelled = []
        for text, _ in keys:
            spellings = [text]
            if text in items and (not sets or self.chance(0.1)):
                name = outputs[items.index(text)].name
                spellings.append(str(items.index(text) + 1))
                spellings += [name] if name not in columns_of_from and once(name, outputs) else []
            spelled.append(self.one_of(spellings))
        return Sql("group by", " GROUP BY ", sets, "(" if sets else "", listed(spelled), ")" if sets else "")

    # ------------------------------------------------------------ DISTINCT, ORDER BY, LIMIT
    def distinct_and_order(self, columns, place, is_top, may_limit):
        """What stands after SELECT, and ORDER BY."""
        kind = self.random.random()
        if kind < 0.1:
            return optional("DISTINCT "), self.order_by(columns, None) if is_top else ""
        if kind < 0.2 and may_limit:
            key = self.order_key(columns, place.plain())
            order = Sql("order", f" ORDER BY {key}{self.one_of(DIRECTIONS)}, ", self.all_places(columns), self.limit())
            return f"DISTINCT ON ({key}) ", order
        if may_limit and self.chance(0.6 if is_top else 0.15):
            return "", self.order_by(columns, place)
        return "", ""

    def order_by(self, columns, place):
        """Some keys and then all columns: what LIMIT leaves out is decided. Without a place, only names and numbers of columns."""
        keys = [Sql("optional", self.order_key(columns, place), self.one_of(DIRECTIONS), ", ") for _ in range(self.one_of([0, 1, 1, 2]))]
        return optional(" ORDER BY ", *keys, self.all_places(columns), self.limit())

    def order_key(self, columns, place):
        index = self.random.randrange(len(columns))
        kind = self.random.random()
        if place and kind < 0.5:
            type_ = self.one_of(["integer", "integer", "text", "numeric"])
            key = str(self.expression(type_, place, self.one_of([0, 1, 1, 2])))
            names = [column.name for column in columns]
            if re.search(r"[a-z]", key) and names.count(key) < 2 and not key.startswith(("NULL", "'")):
                return key
        if kind < 0.8 and once(columns[index].name, columns):
            return columns[index].name
        return str(index + 1)

    def all_places(self, columns):
        return ", ".join(str(index + 1) + self.one_of(DIRECTIONS) for index in range(len(columns)))

    def limit(self):
        offset = self.one_of(["", "", " OFFSET 1"])
        return optional(f" LIMIT {self.one_of([1, 2, 3, 5])}{offset}") if self.chance(0.5) else ""

    # ------------------------------------------------------------ FROM
    def from_clause(self, outer, depth, is_small):
        taken = []
        n_relations = self.one_of([1, 1, 2] if is_small else [1, 2, 2, 3, 4])
        source, scope = self.joined(n_relations, outer, depth, taken, None)
        items = [source]
        if self.chance(0.15):
            source, further = self.joined(self.one_of([1, 1, 2]), outer, depth, taken, scope)
            scope = scope.beside(further)
            items.append(source)
        return listed(items), scope

    def joined(self, n_relations, outer, depth, taken, before):
        """Some relations joined; LATERAL may use what stands `before`."""
        if n_relations == 1:
            return self.relation(outer, depth, taken, before)
        n_left = self.random.randint(1, n_relations - 1)
        left, left_scope = self.joined(n_left, outer, depth, taken, before)
        kind = self.one_of(JOINS)
        seen = before.beside(left_scope) if before else left_scope
        right, right_scope = self.joined(n_relations - n_left, outer, depth, taken, None if kind in ("RIGHT JOIN", "FULL JOIN") else seen)
        if n_relations - n_left > 1:
            right = Sql("relation", "(", right, ")")
        sql, scope = self.join(kind, left, left_scope, right, right_scope, outer, depth)
        if self.chance(0.08):
            alias = self.alias(taken)
            return Sql("relation", "(", sql, f") AS {alias}"), scope_of(alias, scope.columns)
        return (Sql("relation", "(", sql, ")") if self.chance(0.15) else sql), scope

    def join(self, kind, left, left_scope, right, right_scope, outer, depth):
        scope = left_scope.beside(right_scope)
        if kind == "CROSS JOIN":
            return Sql("join", left, " CROSS JOIN ", right), scope
        common, is_natural = self.common_columns(left_scope, right_scope)
        if common and is_natural and self.chance(0.15):
            return Sql("join", left, f" NATURAL {kind} ", right), self.merged(common, left_scope, right_scope)
        if common and self.chance(0.4):
            common = self.random.sample(common, min(len(common), self.one_of([1, 1, 2])))
            names = ", ".join(column.name for column in common)
            return Sql("join", left, f" {kind} ", right, f" USING ({names})"), self.merged(common, left_scope, right_scope)
        conditions = [self.join_equality(left_scope, right_scope, kind)]
        if kind != "FULL JOIN" and self.chance(0.4):
            # Subqueries about the side whose rows all stay are refused, as documented.
            place = Place([scope, *outer], subqueries=kind == "JOIN" or self.chance(0.2))
            conditions.append(self.expression("boolean", place, self.one_of([1, 2])))
        return Sql("join", left, f" {kind} ", right, " ON ", listed(conditions, " AND ")), scope

    def common_columns(self, left, right):
        """Columns that USING may have, and whether these are all that NATURAL takes."""
        types_of = {column.name: column.type for column in right.columns}
        common = [column for column in left.columns if column.name in types_of]
        fitting = [column for column in common if once(column.name, left.columns) and once(column.name, right.columns)
                   and types_of[column.name] == column.type]
        return fitting, len(fitting) == len(common)

    def merged(self, common, left, right):
        self.n_merged += 1
        names = [column.name for column in common]
        columns = [Column(column.name, column.type, (self.n_merged, column.name)) for column in common]
        columns += [column for column in left.columns + right.columns if column.name not in names]
        return Scope(left.relations + right.relations, columns)

    def join_equality(self, left, right, kind):
        """A comparison of both sides. FULL JOIN has nothing but an equality in PostgreSQL."""
        for type_ in self.random.sample(["integer", "text", "numeric"], 3):
            sides = [[reference.text for reference in references([scope], type_) if "." in reference.text] for scope in (left, right)]
            if all(sides):
                comparison = " = " if kind == "FULL JOIN" else self.one_of(COMPARISONS)
                return Sql("boolean", self.one_of(sides[0]), comparison, self.one_of(sides[1]))
        return Sql("boolean", "true")

    def alias(self, taken):
        alias = self.one_of([alias for alias in ALIASES if alias not in taken])
        taken.append(alias)
        return alias

    def relation(self, outer, depth, taken, before):
        kind = self.random.random()
        if depth <= 0 or self.budget <= 0 or kind < 0.6:
            return self.table(taken)
        if kind < 0.68:
            return self.values(taken)
        is_lateral = before is not None and self.chance(0.6)
        scopes = [before, *outer] if is_lateral else outer
        if kind < 0.74:
            return self.function(scopes, taken, is_lateral)
        query = self.query(scopes, depth - 1)
        alias = self.alias(taken)
        return Sql("relation", "LATERAL (" if is_lateral else "(", query.sql, f") {alias}"), scope_of(alias, query.columns)

    def table(self, taken):
        name = self.one_of([*TABLES, *self.common_tables])
        columns = self.common_tables.get(name) or [Column(*column) for column in TABLES[name].items()]
        if name not in taken and self.chance(0.5):
            taken.append(name)
            return Sql("relation", name), scope_of(name, columns)
        alias = self.alias(taken)
        if self.chance(0.08):
            names = self.random.sample(NAMES, len(columns))
            columns = [Column(name, column.type) for name, column in zip(names, columns)]
            return Sql("relation", f"{name} AS {alias}({', '.join(names)})"), scope_of(alias, columns)
        return Sql("relation", f"{name} {alias}"), scope_of(alias, columns)

    def values(self, taken):
        alias = self.alias(taken)
        columns = [Column(name, self.one_of(["integer", "integer", "text"])) for name in self.random.sample(NAMES, self.one_of([1, 2]))]
        rows = [f"({', '.join(self.one_of(LITERALS[column.type]) for column in columns)})" for _ in range(self.one_of([1, 2, 3]))]
        names = ", ".join(column.name for column in columns)
        return Sql("relation", "(VALUES ", listed(rows), f") AS {alias}({names})"), scope_of(alias, columns)

    def function(self, scopes, taken, is_lateral):
        found = self.reference(scopes, "integer")
        argument = found.text if found else "1"
        call = self.one_of([f"generate_series({argument}::integer, 2)", f"unnest(ARRAY[{argument}::integer, 2])"])
        alias, column = self.alias(taken), Column(self.one_of(NAMES), "integer")
        return Sql("relation", "LATERAL " if is_lateral else "", f"{call} AS {alias}({column.name})"), scope_of(alias, [column])

    # ------------------------------------------------------------ WHERE
    def conditions(self, scopes, depth):
        conditions = [self.correlation(scopes) for _ in range(self.one_of([0, 1, 1, 2, 2, 3]))] if len(scopes) > 1 else []
        if self.chance(0.4):
            conditions.append(self.expression("boolean", Place(scopes), depth))
        return [condition for condition in conditions if condition]

    def correlation(self, scopes):
        """A column of this query compared with one of an outer query."""
        type_ = self.one_of(["integer", "integer", "integer", "text", "numeric", "boolean"])
        found = references(scopes, type_)
        local = [reference.text for reference in found if reference.level == 0]
        outer = [reference.text for reference in found if reference.level > 0]
        if not local or not outer:
            return None
        sides = [self.one_of(local), self.one_of(outer)]
        self.random.shuffle(sides)
        return Sql("boolean", "(", sides[0], self.one_of(COMPARISONS), sides[1], ")")

    # ------------------------------------------------------------ expressions
    def reference(self, scopes, type_, is_local=False):
        """A column, rather of an outer query in one of three cases, and rather with its bare name in one of two."""
        found = references(scopes, type_)
        if is_local:
            found = [reference for reference in found if reference.level == 0]
        wants_outer, wants_bare = self.chance(0.35), self.chance(0.5)
        found = [reference for reference in found if (reference.level > 0) == wants_outer] or found
        found = [reference for reference in found if ("." not in reference.text) == wants_bare] or found
        return self.one_of(found) if found else None

    def expression(self, type_, place, depth):
        self.budget -= 1
        is_leaf = depth <= 0 or self.budget <= 0
        if place.arguments and self.chance(0.4):
            aggregate = self.aggregate(type_, place.arguments, depth - 1)
            if aggregate:
                return aggregate
        fitting = [text for text, key_type in place.keys if key_type == type_]
        if fitting and self.chance(0.4):
            return Sql(type_, self.one_of(fitting))
        if not is_leaf and place.subqueries and self.chance(self.subquery_chance):
            is_predicate = type_ == "boolean" and self.chance(0.8)
            return self.predicate(place, depth) if is_predicate else self.scalar_subquery(type_, place.scopes, depth)
        if is_leaf or self.chance(0.3):
            reference = self.reference(place.scopes, type_) if self.chance(0.92) else None
            return Sql(type_, reference.text if reference else self.one_of(LITERALS[type_]))
        return self.filled(self.form(type_, place.scopes), type_, place, depth)

    def form(self, type_, scopes):
        """One whose types there are columns of, if three tries find it."""
        if self.chance(0.2):
            return self.one_of(FORMS_OF_ALL_TYPES)
        for form in self.random.sample(FORMS[type_], min(3, len(FORMS[type_]))):
            if all(references(scopes, type_) for type_ in re.findall(r"\{(\w+)\}", form)):
                break
        return form

    def filled(self, form, type_, place, depth):
        """A form with expressions in place of the types in braces."""
        parts = re.split(r"\{(\w+)\}", form)
        for index in range(1, len(parts), 2):
            parts[index] = self.expression(type_ if parts[index] == "same" else parts[index], place, depth - 1)
        return Sql(type_, *parts)

    def aggregate(self, type_, scopes, depth):
        """An aggregate of the innermost query: its argument has a column of that; none when there is no such column."""
        argument_type, form = self.one_of(AGGREGATES[type_])
        condition = self.expression("boolean", Place(scopes), depth) if self.chance(0.15) else None
        filter_ = optional(" FILTER (WHERE ", condition, ")") if condition and not form.startswith("array_to_string") else ""
        if argument_type is None:
            return Sql(type_, form, filter_)
        column = self.reference(scopes, argument_type, is_local=True)
        if column is None:
            return None
        argument = column.text
        if depth > 0 and self.chance(0.3):
            argument = Sql("argument", f"coalesce({column.text}, ", self.expression(argument_type, Place(scopes), depth - 1), ")")
        before, *after = form.split("{}")
        # Beside an ORDER BY the argument must stay the same at both places, so it is one text.
        if len(after) > 1:
            return Sql(type_, form.format(argument, argument), filter_)
        return Sql(type_, before, argument, after[0], filter_)

    # ------------------------------------------------------------ subqueries
    def scalar_subquery(self, type_, scopes, depth):
        kind = self.random.random()
        if kind < 0.15:
            query = self.query(scopes, depth - 1, [type_])
            function = "bool_or" if type_ == "boolean" else "max"
            name, alias = self.one_of(NAMES), self.one_of(ALIASES)
            return Sql(type_, f"(SELECT {function}({alias}.{name}) FROM (", query.sql, f") {alias}({name}))")
        source, scope = self.from_clause(scopes, depth - 1, is_small=True)
        inner = [scope, *scopes]
        conditions = self.conditions(inner, depth - 1)
        aggregate = self.aggregate(type_, inner, depth - 1) if kind < 0.7 else None
        if aggregate is None:
            value = self.expression(type_, Place(inner), 1)
            ending = f" ORDER BY 1{self.one_of(DIRECTIONS)} LIMIT 1"
            return Sql(type_, "(SELECT ", value, " FROM ", source, where(conditions), ending, ")")
        having = optional(" HAVING count(*) > ", self.expression("integer", Place(scopes), 0)) if self.chance(0.1) else ""
        return Sql(type_, "(SELECT ", aggregate, " FROM ", source, where(conditions), having, ")")

    def predicate(self, place, depth):
        """EXISTS, IN, ANY, ALL, rows IN, and a comparison with one value."""
        type_ = self.one_of(["integer", "integer", "text", "numeric"])
        kind = self.random.random()
        if kind < 0.35:
            query = self.query(place.scopes, depth - 1)
            return Sql("boolean", self.one_of(["", "NOT "]), "EXISTS (", query.sql, ")")
        left = self.expression(type_, place.plain(), 1)
        if kind < 0.5:
            comparison = self.one_of([" = ", " < ", " <> "])
            return Sql("boolean", "(", left, comparison, self.scalar_subquery(type_, place.scopes, depth), ")")
        if kind < 0.6:
            query = self.query(place.scopes, depth - 1, [type_, "integer"])
            second = self.expression("integer", place.plain(), 0)
            return Sql("boolean", "((", left, ", ", second, f"){self.one_of([' IN', ' NOT IN'])} (", query.sql, "))")
        operator = self.one_of([" IN (", " NOT IN (", " = ANY (", " <> ALL (", " > ANY (", " <= ALL ("])
        return Sql("boolean", "(", left, operator, self.query(place.scopes, depth - 1, [type_]).sql, "))")

    # ------------------------------------------------------------ windows
    def window(self, type_, place, all_columns, named):
        """A window function. ROWS, lag() and row_number() only over an order of all columns, so that ties are equal rows."""
        place = place.plain()
        partition = ""
        if self.chance(0.6):
            partition = optional("PARTITION BY ", self.expression(self.one_of(["integer", "text", "boolean"]), place, 1), " ")
        order = Sql("order", "ORDER BY (", self.expression("integer", place, 1), ")::integer", self.one_of(DIRECTIONS))
        if all_columns and self.chance(0.4):
            order = f"ORDER BY {self.one_of(all_columns)}{self.one_of(DIRECTIONS)}, {', '.join(all_columns)}"
            frame = f" ROWS {self.one_of(FRAMES)}" if type_ != "boolean" and self.chance(0.5) else ""
            return self.over(type_, self.call_in_order(type_, place), partition, order + frame, named)
        if type_ == "integer" and self.chance(0.3):
            return self.over(type_, self.one_of(["rank()", "dense_rank()"]), partition, order, named)
        call = self.filled(self.one_of(WINDOW_AGGREGATES[type_]), type_, place, 1)
        frame = "" if type_ == "boolean" else self.one_of(["", "", " GROUPS ", " RANGE "])
        return self.over(type_, call, partition, Sql("order", order, frame, self.one_of(FRAMES) if frame else ""), named)

    def call_in_order(self, type_, place):
        argument = self.expression(type_, place, 1)
        if type_ == "integer" and self.chance(0.3):
            return self.one_of(["row_number()", "ntile(2)"])
        if self.chance(0.3):
            return self.filled(self.one_of(WINDOW_AGGREGATES[type_]), type_, place, 1)
        return Sql("call", self.one_of(["lag(", "lead(", "first_value(", "last_value("]), argument, ")")

    def over(self, type_, call, partition, order, named):
        """OVER in one of three ways: all of it here, a named window, or a named one that is refined here."""
        kind = self.random.random()
        name = self.one_of(NAMES)
        if kind < 0.6 or named:
            return Sql(type_, call, " OVER (", partition, order, ")")
        if kind < 0.8:
            named.append(Sql("window", f"{name} AS (", partition, order, ")"))
            return Sql(type_, call, f" OVER {name}")
        named.append(Sql("window", f"{name} AS (", partition, ")"))
        return Sql(type_, call, f" OVER ({name} ", order, ")")
