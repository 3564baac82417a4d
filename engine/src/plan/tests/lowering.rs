//! SQL → operators, as EXPLAIN shows them.

use super::fixture::{Fixture, check};

#[track_caller]
fn explain(sql: &str, expected: &str) {
    check(&Fixture::new().operators(sql), expected);
}

#[test]
fn filter_and_projection_are_one_map() {
    explain("SELECT a + 1 AS next FROM t WHERE c > 15", "");
}

#[test]
fn columns_are_pruned_in_the_scan() {
    explain("SELECT b FROM t", "");
}

#[test]
fn views_are_expanded() {
    explain("SELECT second FROM bigger", "");
}

#[test]
fn a_final_order_is_dropped() {
    explain("SELECT a FROM t ORDER BY a", "");
}

#[test]
fn group_by_an_expression() {
    explain("SELECT a % 2 AS odd, count(*) AS n, sum(c) FILTER (WHERE c > 10) AS s, max(b) AS top FROM t GROUP BY a % 2", "");
    explain("SELECT count(*) AS n, count(DISTINCT a) AS d, string_agg(b, '-' ORDER BY c) AS all_b FROM t", "");
    explain("SELECT a FROM t GROUP BY a HAVING count(*) > 1", "");
}

#[test]
fn distinct_and_set_operations() {
    explain("SELECT DISTINCT a FROM s", "");
    explain("SELECT a FROM t UNION SELECT a FROM s", "");
    explain("SELECT a FROM t UNION ALL SELECT c FROM t", "");
    explain("SELECT a FROM t EXCEPT SELECT a FROM s", "");
    explain("SELECT a FROM t INTERSECT SELECT a FROM s", "");
}

#[test]
fn joins() {
    explain("SELECT t.a, b, d FROM t JOIN u ON t.a = u.a AND t.b < u.d", "");
    explain("SELECT b, d FROM t LEFT JOIN u ON t.a = u.a + 1", "");
    explain("SELECT b, d FROM t RIGHT JOIN u ON t.a = u.a", "");
    explain("SELECT b, d FROM t FULL JOIN u ON t.a = u.a", "");
    explain("SELECT b, d FROM t CROSS JOIN u", "");
    explain("SELECT x.b, y.b AS other FROM t x JOIN t y ON x.a = y.a AND x.c <> y.c", "");
}

#[test]
fn subqueries_become_joins() {
    explain("SELECT a FROM t WHERE a IN (SELECT a FROM u)", "");
    explain("SELECT a FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.a = t.a)", "");
    explain("SELECT a FROM t WHERE a IN (SELECT a FROM u) OR c > 30", "");
    explain("SELECT a FROM t WHERE c > (SELECT avg(c) FROM t)", "");
    explain("SELECT a, (SELECT max(d) FROM u WHERE u.a = t.a) AS top FROM t", "");
}

#[test]
fn not_in_with_nulls_is_recomputed() {
    explain("SELECT a FROM t WHERE a NOT IN (SELECT a FROM u)", "");
}

#[test]
fn first_rows() {
    explain("SELECT a, b FROM t ORDER BY c DESC LIMIT 2", "");
    explain("SELECT a FROM s ORDER BY d LIMIT 2 OFFSET 1", "");
    explain("SELECT a FROM t LIMIT 3", "");
    explain("SELECT a, b FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY c DESC) AS n FROM t) AS x WHERE n <= 1", "");
    explain("SELECT a, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a % 2 ORDER BY c) AS n FROM t) AS x WHERE n BETWEEN 2 AND 3 AND b <> 'w'", "");
    explain("SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, c", "");
}

#[test]
fn other_windows_are_recomputed() {
    explain("SELECT a, rank() OVER (PARTITION BY a ORDER BY c) AS r FROM t WHERE c > 5", "");
    explain("SELECT a, lag(c) OVER (ORDER BY c) AS before FROM t", "");
}

#[test]
fn lists_are_exploded() {
    explain("SELECT a, unnest(make_array(a, a + 1)) AS e FROM s", "");
}

#[test]
fn constants() {
    explain("SELECT * FROM (VALUES (1, 'x'), (2, NULL)) AS v (i, j)", "");
    explain("SELECT 1 AS one", "");
    explain("SELECT a FROM t WHERE false", "");
}

#[test]
fn grouping_sets_and_recursion_are_recomputed() {
    explain("SELECT a, b, count(*) AS n FROM t GROUP BY ROLLUP (a, b)", "");
    explain("WITH RECURSIVE n AS (SELECT a FROM t WHERE a = 1 UNION ALL SELECT u.a FROM n JOIN u ON u.a = n.a + 1) SELECT a FROM n", "");
}
