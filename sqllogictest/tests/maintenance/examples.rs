//! Queries for each row of the table, by the text of its first column.

/// A query of the construct; every column has a name of its own.
pub struct Example {
    pub query: &'static str,
}

const fn query(query: &'static str) -> Example {
    Example { query }
}

/// By construct, as `docs/sql.md` calls it.
pub const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "SELECT list, WHERE, CASE, casts, functions of one row",
        &[
            query("SELECT id, upper(s) AS s, CASE WHEN b THEN v ELSE -v END AS w FROM t WHERE x > 3 AND s LIKE 's%'"),
            query("SELECT id, v::text AS v FROM e WHERE g IN (1, 2, 3)"),
            query("SELECT id FROM t ORDER BY x"),
        ],
    ),
    ("UNION ALL", &[query("SELECT id FROM t UNION ALL SELECT id FROM u"), query("SELECT id FROM e UNION ALL SELECT v FROM e")]),
    ("VALUES, SELECT without FROM", &[query("SELECT 1 AS one"), query("VALUES (1, 'a'), (2, 'b')")]),
    (
        "TUMBLE, HOP, CUMULATE",
        &[
            query("SELECT id, window_start FROM TUMBLE(t, at, INTERVAL '1 hour')"),
            query("SELECT id, window_start FROM HOP(e, at, INTERVAL '10 minutes', INTERVAL '1 hour')"),
            query("SELECT id, window_end FROM CUMULATE(t, at, INTERVAL '10 minutes', INTERVAL '1 hour')"),
        ],
    ),
    (
        "UNNEST of lists, of lists in lists and of structs, also beside the relation they are in (`FROM t, UNNEST(t.tags)`); functions with several rows in the SELECT list",
        &[
            query("SELECT id, tag FROM t, UNNEST(t.tags) AS n(tag)"),
            query("SELECT id, n.tag, m.other FROM t, UNNEST(tags) AS n(tag), UNNEST(tags) AS m(other) WHERE n.tag > m.other"),
            query("SELECT id, unnest(unnest(lists)) AS item FROM nested"),
            query("SELECT id, unnest(one) FROM nested"),
            query("SELECT id, unnest(tags) AS tag FROM e"),
            query("SELECT id, regexp_split_to_table(s, 's') AS part, generate_series(1, v) AS n FROM t"),
        ],
    ),
    (
        "GROUP BY with `count`, `sum`, `avg`, `var…`, `stddev…`, `bool_and`, `bool_or`, `bit_xor`, also with FILTER or HAVING",
        &[
            query("SELECT g, count(*) AS n, sum(v) AS s, avg(x) AS m FROM t GROUP BY g"),
            query("SELECT g, var_samp(x) AS a, var_pop(x) AS b, stddev_samp(x) AS c, stddev_pop(x) AS d FROM t GROUP BY g"),
            query("SELECT g, bit_xor(v) AS a, count(v) FILTER (WHERE v > 2) AS b FROM t GROUP BY g HAVING count(*) > 1"),
            query("SELECT g, bool_and(b) AS a, bool_or(b) AS o FROM t GROUP BY g"),
            query("SELECT sum(x) AS s FROM t"),
            query("SELECT g, count(*) AS n FROM e GROUP BY g"),
        ],
    ),
    (
        "`min`, `max`",
        &[query("SELECT g, min(id) AS a, max(id) AS b FROM e GROUP BY g"), query("SELECT g, min(id) AS a, max(id) AS b FROM t GROUP BY g")],
    ),
    (
        "these with DISTINCT",
        &[
            query("SELECT g, count(DISTINCT v) AS a, sum(DISTINCT v) AS b FROM t GROUP BY g"),
            query("SELECT g, count(DISTINCT v) AS n FROM e GROUP BY g"),
        ],
    ),
    (
        "other aggregates (`string_agg`, `array_agg`, `json_agg`, `median`, `percentile_cont`, `percentile_disc`, `mode`, `first_value`, `approx_distinct`, …)",
        &[
            query("SELECT g, string_agg(s, ',' ORDER BY id) AS a, array_agg(id ORDER BY id DESC) AS b FROM t GROUP BY g"),
            query("SELECT g, jsonb_agg(s ORDER BY id) AS a, json_object_agg(id, x ORDER BY id) AS b FROM t GROUP BY g"),
            query(
                "SELECT g, mode() WITHIN GROUP (ORDER BY x) AS a, percentile_disc(0.5) WITHIN GROUP (ORDER BY id) AS b FROM t GROUP BY g",
            ),
            query("SELECT g, median(id) AS a, approx_distinct(id) AS b, approx_median(id) AS c FROM t GROUP BY g"),
            query("SELECT g, percentile_cont(0.5) WITHIN GROUP (ORDER BY id) AS a FROM t GROUP BY g"),
            query("SELECT g, approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY id) AS a FROM t GROUP BY g"),
            query("SELECT g, approx_percentile_cont_with_weight(1, 0.5) WITHIN GROUP (ORDER BY id) AS a FROM t GROUP BY g"),
            query(
                "SELECT g, first_value(id ORDER BY x) AS a, last_value(id ORDER BY x) AS b, nth_value(id, 2 ORDER BY x) AS c FROM t GROUP BY g",
            ),
            query(
                "SELECT g, bit_and(id) AS a, bit_or(id) AS b, any_value(id) AS h, corr(x, id) AS c, covar_pop(x, id) AS d, covar_samp(x, id) AS e FROM t GROUP BY g",
            ),
            query(
                "SELECT g, regr_slope(x, id) AS a, regr_intercept(x, id) AS b, regr_count(x, id) AS c, regr_r2(x, id) AS d FROM t GROUP BY g",
            ),
            query(
                "SELECT g, regr_avgx(x, id) AS a, regr_avgy(x, id) AS b, regr_sxx(x, id) AS c, regr_syy(x, id) AS d, regr_sxy(x, id) AS h FROM t GROUP BY g",
            ),
        ],
    ),
    (
        "DISTINCT, UNION",
        &[query("SELECT DISTINCT g, v FROM t"), query("SELECT g, v FROM t UNION SELECT g, v FROM u"), query("SELECT DISTINCT g, v FROM e")],
    ),
    (
        "joins of all kinds on equal keys with any further condition; INTERSECT, EXCEPT, also with ALL",
        &[
            query("SELECT t.id, u.x FROM t JOIN u ON t.v = u.v AND t.x + u.x > 2"),
            query("SELECT t.id, u.x FROM t LEFT JOIN u ON t.g = u.g AND t.v = u.v"),
            query("SELECT u.id, t.x FROM t RIGHT JOIN u USING (v)"),
            query("SELECT t.id, u.x FROM t FULL JOIN u ON t.id = u.id"),
            query("SELECT a.id, b.x FROM e AS a JOIN e AS b ON a.id = b.id"),
            query("SELECT id FROM t INTERSECT SELECT id FROM u"),
            query("SELECT id FROM t EXCEPT SELECT id FROM u"),
            query("SELECT g FROM t INTERSECT ALL SELECT id FROM u"),
            query("SELECT id FROM t EXCEPT ALL SELECT id FROM u"),
        ],
    ),
    (
        "inner, left and right joins on all of a table's primary key, on the columns a view is grouped by, or on those of an index; the rows of that side, where they are not kept by an outer join, are looked up there",
        &[
            query("SELECT t.id, u.x FROM t JOIN u ON t.g = u.id AND t.x + u.x > 2"),
            query("SELECT t.id, u.x FROM t LEFT JOIN u ON t.g = u.id"),
            query("SELECT u.id, t.x FROM u RIGHT JOIN t ON u.id = t.g"),
            query("SELECT t.id, u.x FROM t LEFT JOIN u USING (id)"),
            query("SELECT t.id, u.x FROM t JOIN u ON t.at = u.at"),
        ],
    ),
    (
        "subqueries anywhere: scalar, IN, NOT IN, EXISTS, ANY, ALL, ARRAY, LATERAL; correlated over any number of levels, by any condition, under aggregates, LIMIT, windows and set operations",
        &[
            query("SELECT id FROM t WHERE x > (SELECT avg(x) FROM u)"),
            query("SELECT id FROM t WHERE id IN (SELECT id FROM u)"),
            query("SELECT id FROM t WHERE id NOT IN (SELECT id FROM u)"),
            query("SELECT id FROM t WHERE EXISTS (SELECT FROM u WHERE u.id = t.id)"),
            query("SELECT id FROM t WHERE NOT EXISTS (SELECT FROM u WHERE u.id = t.id)"),
            query("SELECT id, id IN (SELECT id FROM u) AS known FROM t"),
            query("SELECT id FROM t WHERE v > ANY (SELECT v FROM u WHERE u.id = t.id)"),
            query("SELECT id FROM t WHERE v >= ALL (SELECT v FROM u WHERE u.id = t.id)"),
            query("SELECT id, ARRAY(SELECT x FROM u WHERE u.id = t.id ORDER BY x) AS xs FROM t"),
            query("SELECT t.id, l.m FROM t, LATERAL (SELECT max(x) AS m FROM u WHERE u.id = t.id) AS l"),
            query("SELECT id, (SELECT x FROM u WHERE u.id <= t.id ORDER BY u.id DESC LIMIT 1) AS last FROM t WHERE id < 50"),
            query("SELECT t.id, u.x FROM t LEFT JOIN u ON t.id = u.id AND t.x > (SELECT max(x) FROM u AS w WHERE w.id = t.id)"),
        ],
    ),
    (
        "cross join and joins without an equality",
        &[
            query("SELECT t.id, u.id AS other FROM t, u WHERE u.id < 3"),
            query("SELECT t.id, u.id AS other FROM t LEFT JOIN u ON t.x < u.x AND u.id < 5"),
        ],
    ),
    (
        "ORDER BY … LIMIT and OFFSET, DISTINCT ON, `ROW_NUMBER() … <= n`, LIMIT without an order",
        &[
            query("SELECT id, x FROM t ORDER BY x DESC LIMIT 3 OFFSET 2"),
            query("SELECT id, x FROM e ORDER BY x DESC LIMIT 3"),
            query("SELECT DISTINCT ON (g) g, id FROM t ORDER BY g, x"),
            query("SELECT DISTINCT ON (g) g, id FROM e ORDER BY g, x"),
            query("SELECT id, g FROM (SELECT id, g, row_number() OVER (PARTITION BY g ORDER BY x) AS n FROM e) AS r WHERE n <= 3"),
            query("SELECT id, g FROM (SELECT id, g, row_number() OVER (PARTITION BY g ORDER BY x) AS n FROM t) AS r WHERE n <= 3"),
            query("SELECT id FROM t LIMIT 5"),
        ],
    ),
    (
        "`lag`, `lead`, frames of ROWS with both ends near, with PARTITION BY or over all rows",
        &[
            query("SELECT id, lag(x) OVER (PARTITION BY g ORDER BY id) AS a, lead(x, 2) OVER (PARTITION BY g ORDER BY id) AS b FROM t"),
            query("SELECT id, sum(x) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS a FROM t"),
        ],
    ),
    (
        "`row_number`, `rank`, `dense_rank`, `count`, `sum`, `avg`, `min`, `max`, `var…`, `stddev…`, `bool_…`, `bit_…` from the start of the partition to the row",
        &[
            query(
                "SELECT id, row_number() OVER w AS a, rank() OVER w AS b, dense_rank() OVER w AS c FROM t WINDOW w AS (PARTITION BY g ORDER BY id)",
            ),
            query("SELECT id, sum(x) OVER (PARTITION BY g ORDER BY id) AS a, min(x) OVER (PARTITION BY g ORDER BY id) AS b FROM t"),
        ],
    ),
    (
        "other window functions (`ntile`, `percent_rank`, `cume_dist`, `sum(…) OVER ()`, frames that end with the partition, …) and all that share their partition and order",
        &[
            query(
                "SELECT id, ntile(3) OVER w AS a, percent_rank() OVER w AS b, cume_dist() OVER w AS c FROM t WINDOW w AS (PARTITION BY g ORDER BY id)",
            ),
            query("SELECT id, sum(x) OVER () AS a, first_value(x) OVER (ORDER BY id) AS b, nth_value(x, 2) OVER (ORDER BY id) AS c FROM t"),
        ],
    ),
    (
        "GROUPING SETS, ROLLUP, CUBE, with `grouping`",
        &[
            query("SELECT g, v, count(*) AS n FROM t GROUP BY ROLLUP (g, v)"),
            query("SELECT g, v, grouping(g) AS a, sum(x) AS n FROM t GROUP BY CUBE (g, v)"),
            query("SELECT g, v, count(*) AS n FROM t GROUP BY GROUPING SETS ((g), (v), ())"),
        ],
    ),
    (
        "`WITH RECURSIVE`",
        &[
            query(
                "WITH RECURSIVE r AS (SELECT id, g FROM t WHERE id < 10 UNION SELECT t.id, t.g FROM r JOIN t ON t.id = r.id + 20) SELECT id FROM r",
            ),
            query("WITH RECURSIVE r AS (SELECT id, 1 AS n FROM t UNION ALL SELECT id, n + 1 FROM r WHERE n < 3) SELECT id, n FROM r"),
        ],
    ),
    (
        "several UNNESTs of one list or of lists in lists; a recursive term that aggregates without GROUP BY, has a FULL JOIN, or a recursion over its own rows",
        &[
            query("SELECT id, unnest(lists) AS list, unnest(unnest(lists)) AS item FROM nested"),
            query(
                "WITH RECURSIVE r AS (SELECT 1::bigint AS n UNION ALL SELECT count(*) + r2.m FROM (SELECT max(n) AS m FROM r) AS r2, t WHERE r2.m < 3 GROUP BY r2.m) SELECT n FROM r",
            ),
        ],
    ),
    (
        "conditions on the clock, `ts > now() - INTERVAL '1 hour'`; [below](#bounds-of-time)",
        &[
            query("SELECT id FROM t WHERE at + INTERVAL '40000 days' > now() - INTERVAL '1 hour'"),
            query("SELECT id FROM t WHERE at + INTERVAL '40000 days' <= now()"),
        ],
    ),
    (
        "`now()` elsewhere, `random()` and other volatile functions",
        &[query("SELECT id, now() AS n FROM t"), query("SELECT id FROM t WHERE random() < 0.5")],
    ),
    (
        "a subquery in the condition of a FULL JOIN that refers to both sides",
        &[query("SELECT t.id FROM t FULL JOIN u ON t.id = u.id AND t.x > (SELECT max(x) FROM u AS w WHERE w.id = t.id AND w.x < u.x)")],
    ),
    (
        "a LATERAL inside of a subquery that refers to what it stands beside in subqueries of its own alone, and not itself",
        &[query(
            "SELECT id FROM t WHERE EXISTS (SELECT FROM u CROSS JOIN LATERAL (SELECT e.x FROM e WHERE EXISTS (SELECT FROM t AS w WHERE w.id = u.id)) AS l)",
        )],
    ),
];
