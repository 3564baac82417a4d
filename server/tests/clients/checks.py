"""What the tests of Python clients share: values of every type, waiting with a bound, and how a script of tests ends.

The address of the server is in PGHOST, PGPORT, PGUSER and PGDATABASE, where libpq and asyncpg look for it.
"""

import datetime
import decimal
import threading
import unittest
import uuid

# Nothing takes longer unless it hangs.
PATIENCE_S = 60

_utc = datetime.timezone.utc

# SQL type, value as the drivers give it out.
VALUES = [
    ("boolean", True),
    ("smallint", -32768),
    ("integer", 2147483647),
    ("bigint", -9223372036854775808),
    ("real", 1.5),
    ("double precision", -2.25e-300),
    ("numeric(12,3)", decimal.Decimal("-123456789.125")),
    ("numeric(38,10)", decimal.Decimal("1234567890123456789012345678.0123456789")),
    ("text", "grüße ☃ 'q' \"d\" \\ \n %s $1 x"),
    ("varchar(5)", "abc"),
    ("bytea", b"\x00\xff\x10abc\\"),
    ("date", datetime.date(2024, 2, 29)),
    ("time", datetime.time(12, 14, 56, 789012)),
    ("timestamp", datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamptz", datetime.datetime(2024, 2, 29, 12, 14, 56, 789012, _utc)),
    ("interval", datetime.timedelta(days=-3, hours=4, microseconds=5)),
    ("uuid", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ("integer[]", [1, None, -3]),
    ("text[]", ["a,b", 'c"d', None, "", "NULL", "\\"]),
    ("timestamptz[]", [datetime.datetime(2024, 2, 29, 12, 14, 56, 0, _utc), None]),
    ("numeric(6,2)[]", [decimal.Decimal("1.50"), None]),
]

# Runs for longer than anybody waits, so it ends only when it is canceled.
ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.a + b.b = 1"


def in_thread(work):
    """Starts `work` in a thread, and returns how to wait for it: `wait(seconds)` is false while it runs and raises what it raised."""
    failures = []

    def run():
        try:
            work()
        except BaseException as error:  # noqa: BLE001, the waiter gets it
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait(seconds=PATIENCE_S):
        thread.join(seconds)
        if failures:
            raise failures[0]
        return not thread.is_alive()

    return wait


def main():
    unittest.main(verbosity=2, failfast=False)
