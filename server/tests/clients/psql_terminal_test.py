"""psql at a terminal: tab completion, \\watch, Ctrl-C on a query and on a SUBSCRIBE, FETCH_COUNT while rows come.

psql runs in a pseudo-terminal, so that keys and signals reach it as a person's do. Nothing here waits for time to pass: each
step waits for what psql shows next, with a bound.
"""

import os
import pty
import re
import select
import signal
import time
import unittest

import psycopg

from checks import ENDLESS, PATIENCE_S, main

PROMPT = "thalweg=# "


class Terminal:
    """A psql in a terminal of its own."""

    def __init__(self):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", INPUTRC="/dev/null", PAGER="cat", PSQL_HISTORY="/dev/null", LC_ALL="C.UTF-8", COLUMNS="200")
            os.execvp("psql", ["psql", "-X", "-A", "-t"])
        self.unread = ""
        self.expect(PROMPT)

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def expect(self, *wanted):
        """Reads up to the first of some texts, and returns what stood before it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = [(self.unread.find(text), text) for text in wanted if text in self.unread]
            if found:
                place, text = min(found)
                before, self.unread = self.unread[:place], self.unread[place + len(text) :]
                return before
            readable, _, _ = select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))
            if not readable:
                raise AssertionError(f"{wanted} did not come, only {self.unread!r}")
            piece = os.read(self.terminal, 65536).decode(errors="replace")
            # Without what moves the cursor and switches modes.
            self.unread += re.sub("\x1b\\[[?0-9;]*[a-zA-Z]|\x07|\r", "", piece)

    def run(self, line):
        """A line, and what psql answers up to its next prompt, without the line's echo."""
        self.type(line + "\n")
        return self.expect(PROMPT).partition("\n")[2]

    def close(self):
        os.close(self.terminal)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Case(unittest.TestCase):
    def setUp(self):
        self.db = psycopg.connect("", autocommit=True)
        self.addCleanup(self.db.close)
        self.psql = Terminal()
        self.addCleanup(self.psql.close)


class TabCompletion(Case):
    def setUp(self):
        super().setUp()
        for statement in (
            "DROP TABLE IF EXISTS tab_table CASCADE",
            "CREATE TABLE tab_table (only_column int)",
            "CREATE MATERIALIZED VIEW tab_kept AS SELECT count(*) AS n FROM tab_table",
        ):
            self.db.execute(statement)

    def completed(self, typed):
        """What the line is after a tab."""
        self.psql.type(typed + "\t")
        self.psql.expect(typed)
        # A key that ends the line's completion, and a Ctrl-U that forgets the line.
        self.psql.type("|")
        line = typed + self.psql.expect("|")
        self.psql.type("\x15\n")
        self.psql.expect(PROMPT)
        return line

    def test_names_of_relations(self):
        self.assertEqual(self.completed("SELECT * FROM tab_t"), "SELECT * FROM tab_table ")
        self.assertEqual(self.completed("SELECT * FROM tab_k"), "SELECT * FROM tab_kept ")
        self.assertEqual(self.completed("INSERT INTO tab_t"), "INSERT INTO tab_table ")
        self.assertEqual(self.completed("DROP MATERIALIZED VIEW tab_"), "DROP MATERIALIZED VIEW tab_kept ")
        self.assertEqual(self.completed("\\d tab_t"), "\\d tab_table ")

    def test_names_of_columns_schemas_settings_and_words(self):
        self.assertEqual(self.completed("UPDATE tab_table SET only_"), "UPDATE tab_table SET only_column ")
        self.assertEqual(self.completed("SELECT * FROM information_s"), "SELECT * FROM information_schema.")
        self.assertEqual(self.completed("SHOW statement_t"), "SHOW statement_timeout ")
        self.assertEqual(self.completed("CREATE MATER"), "CREATE MATERIALIZED VIEW ")

    def test_several_names_are_shown(self):
        self.psql.type("SELECT * FROM tab_\t")
        self.psql.expect("tab_")
        self.psql.type("\t")
        shown = self.psql.expect("tab_table") + self.psql.unread
        self.assertIn("tab_kept", shown)


class Interrupts(Case):
    def test_ctrl_c_on_a_query(self):
        self.psql.type(ENDLESS + ";\n")
        self.psql.expect("\n")
        # Only a statement that has begun can be canceled: the others see when that is.
        while not self.db.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()", [ENDLESS[:40] + "%"]).fetchone()[0]:
            pass
        self.psql.type("\x03")
        self.assertIn("canceling statement due to user request", self.psql.expect(PROMPT))
        self.assertEqual(self.psql.run("SELECT 'still ' || 'here';"), "still here\n")

    def test_ctrl_c_on_a_subscribe(self):
        for statement in ("DROP TABLE IF EXISTS followed", "CREATE TABLE followed (a text)", "INSERT INTO followed VALUES ('first')"):
            self.db.execute(statement)
        self.psql.type("COPY (SUBSCRIBE followed) TO STDOUT;\n")
        self.psql.expect("\t1\tfirst\n")
        self.db.execute("INSERT INTO followed VALUES ('second')")
        self.psql.expect("\t1\tsecond\n")
        self.psql.type("\x03")
        self.assertIn("canceling statement due to user request", self.psql.expect(PROMPT))
        self.assertEqual(self.psql.run("SELECT count(*) FROM followed;"), "2\n")
        # Without COPY psql shows rows only when the result has ended, which for a SUBSCRIBE is Ctrl-C; or it fetches them in parts.
        self.psql.type("SUBSCRIBE followed;\n")
        self.psql.expect("\n")
        while not self.db.execute("SELECT count(*) FROM pg_stat_activity WHERE query = 'SUBSCRIBE followed'").fetchone()[0]:
            pass
        self.psql.type("\x03")
        self.assertIn("canceling statement due to user request", self.psql.expect(PROMPT))
        self.assertEqual(self.psql.run("SELECT count(*) FROM followed;"), "2\n")


class InParts(Case):
    def test_fetch_count(self):
        self.psql.run("\\set FETCH_COUNT 1000")
        self.psql.type("SELECT g FROM generate_series(1, 2500) AS s(g) ORDER BY g;\n")
        self.psql.expect("\n")
        rows = self.psql.expect(PROMPT).split()
        self.assertEqual(rows, [str(g) for g in range(1, 2501)])
        self.assertIn("division by zero", self.psql.run("SELECT 1 / (g - 1500) FROM generate_series(1, 2500) AS s(g) ORDER BY g;"))
        self.assertEqual(self.psql.run("SELECT 'idle' WHERE :'ERROR' = 'true';"), "idle\n")

    def test_watch(self):
        for statement in ("DROP TABLE IF EXISTS watched", "CREATE TABLE watched (a int)"):
            self.db.execute(statement)
        self.psql.type("SELECT 'now ' || count(*) FROM watched \\watch 0.05\n")
        for n in range(3):
            self.psql.expect(f"now {n}\n")
            self.db.execute("INSERT INTO watched VALUES (1)")
        self.psql.expect("now 3\n")
        self.psql.type("\x03")
        self.psql.expect(PROMPT)
        self.assertEqual(self.psql.run("SELECT 'still ' || 'here';"), "still here\n")


if __name__ == "__main__":
    main()
