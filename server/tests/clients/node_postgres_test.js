// node-postgres with its cursor, stream and COPY packages: types, parameters, pools, pipelines, cancel, LISTEN, SUBSCRIBE.
//
// The address of the server is in PGHOST, PGPORT, PGUSER and PGDATABASE, where node-postgres looks for it; a test that hangs
// is ended by whoever runs this.
'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const { Readable } = require('node:stream')
const { pipeline } = require('node:stream/promises')
const { test } = require('node:test')
const pg = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const copy = require('pg-copy-streams')

// Runs for longer than anybody waits, so it ends only when it is canceled.
const ENDLESS =
  'SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.a + b.b = 1'

async function connected(options, use) {
  const db = new pg.Client(options)
  await db.connect()
  try {
    return await use(db)
  } finally {
    await db.end()
  }
}

// A test with a connection of its own, after these statements.
function check(name, statements, run) {
  test(name, () =>
    connected({}, async (db) => {
      for (const statement of statements) await db.query(statement)
      await run(db)
    }),
  )
}

const rows = async (db, text, values) => (await db.query({ text, values, rowMode: 'array' })).rows

const sqlstate = async (work) => {
  const error = await work.then(
    () => assert.fail('it did not fail'),
    (error) => error,
  )
  return error.code
}

const utc = (text) => new Date(`${text}Z`)

// SQL type, what is given, and what comes back when that is another thing.
const VALUES = [
  ['boolean', true],
  ['smallint', -32768],
  ['integer', 2147483647],
  ['bigint', '-9223372036854775808'],
  ['real', 1.5],
  ['double precision', -2.25e-300],
  ['numeric(12,3)', '-123456789.125'],
  ['text', 'grüße ☃ \'q\' "d" \\ \n $1 x'],
  ['varchar(5)', 'abc'],
  ['bytea', Buffer.from([0, 255, 16, 97, 92])],
  ['time', '12:14:56.789012'],
  ['timestamptz', utc('2024-02-29T12:14:56.789')],
  ['uuid', '12345678-1234-5678-1234-567812345678'],
  ['json', { a: [1, null] }],
  ['jsonb', { a: { b: '☃' } }],
  ['integer[]', [1, null, -3]],
  ['text[]', ['a,b', 'c"d', null, '', 'NULL', '\\']],
  ['timestamptz[]', [utc('2024-02-29T12:14:56'), null]],
]

check('every type goes in and out', [], async (db) => {
  const columns = VALUES.map(([type], i) => `c${i} ${type}`).join(', ')
  await db.query(`CREATE TABLE every_type (id int, ${columns})`)
  const places = VALUES.map((_, i) => `$${i + 2}`).join(', ')
  const insert = { name: 'insert', text: `INSERT INTO every_type VALUES ($1, ${places})` }
  await db.query({ ...insert, values: [1, ...VALUES.map(([, value]) => value)] })
  await db.query({ ...insert, values: [2, ...VALUES.map(() => null)] })
  const [full, empty] = await rows(db, 'SELECT * FROM every_type ORDER BY id')
  VALUES.forEach(([type, value], i) => assert.deepEqual(full[i + 1], value, type))
  assert.deepEqual(empty, [2, ...VALUES.map(() => null)])
  const asked = VALUES.map(([type], i) => [type, i]).filter(([type]) => type !== 'json')
  for (const [type, i] of asked) {
    const found = await rows(db, `SELECT count(*)::int FROM every_type WHERE c${i} = $1`, [VALUES[i][1]])
    assert.deepEqual(found, [[1]], type)
  }
})

check('dates and intervals have types of the client', [], async (db) => {
  const [row] = (await db.query("SELECT '2024-02-29'::date AS d, '1 year 2 months 3 days 04:05:06.5'::interval AS i")).rows
  assert.deepEqual([row.d.getFullYear(), row.d.getMonth(), row.d.getDate()], [2024, 1, 29])
  assert.deepEqual({ ...row.i }, { years: 1, months: 2, days: 3, hours: 4, minutes: 5, seconds: 6, milliseconds: 500 })
  assert.deepEqual(await rows(db, 'SELECT 1, count(*), 1.5, 1e0::float8, 7 / 2'), [[1, '1', '1.5', 1, 3]])
})

check('results in binary', ['CREATE TABLE in_binary (n int, sq bigint, f float8, t text, b bool)'], async (db) => {
  await db.query("INSERT INTO in_binary VALUES (7, 49, 0.5, 'x', true), (NULL, NULL, NULL, NULL, NULL)")
  const found = await db.query({ text: 'SELECT * FROM in_binary ORDER BY n', binary: true, rowMode: 'array' })
  assert.deepEqual(found.rows.map((row) => row.map((value) => (typeof value === 'bigint' ? String(value) : value))), [
    [7, '49', 0.5, 'x', true],
    [null, null, null, null, null],
  ])
})

check(
  'parameters',
  ['CREATE TABLE numbers (n int PRIMARY KEY, label text)', "INSERT INTO numbers SELECT g, 'row ' || g FROM generate_series(1, 1000) AS s(g)"],
  async (db) => {
    assert.deepEqual(await rows(db, 'SELECT n FROM numbers WHERE n = $1 AND label = $2', [7, 'row 7']), [[7]])
    assert.deepEqual(await rows(db, 'SELECT n FROM numbers WHERE n = ANY($1) ORDER BY n', [[3, 1, 5000]]), [[1], [3]])
    assert.deepEqual(await rows(db, 'SELECT n FROM numbers ORDER BY n LIMIT $1 OFFSET $2', [2, 10]), [[11], [12]])
    assert.deepEqual(await rows(db, 'SELECT $1::text, $2::int', [null, '5']), [[null, 5]])
    const evil = "'); DROP TABLE numbers; --"
    assert.deepEqual(await rows(db, 'SELECT $1::text, count(*)::int FROM numbers', [evil]), [[evil, 1000]])
    for (let n = 1; n <= 20; n++) {
      const named = { name: 'label', text: 'SELECT label FROM numbers WHERE n = $1', values: [n] }
      assert.deepEqual((await db.query(named)).rows, [{ label: `row ${n}` }])
    }
    // Bound anew, the table's identity is told too.
    const { fields } = await db.query('SELECT label, n FROM numbers LIMIT 0')
    assert.deepEqual(fields.map((field) => [field.name, field.dataTypeID, field.columnID]), [['label', 25, 2], ['n', 23, 1]])
    assert.ok(fields[0].tableID >= 16384)
  },
)

check(
  'rows in parts',
  ['CREATE TABLE long (n int PRIMARY KEY)', 'INSERT INTO long SELECT * FROM generate_series(1, 5000)'],
  async (db) => {
    const cursor = db.query(new Cursor('SELECT n FROM long WHERE n > $1 ORDER BY n', [1000], { rowMode: 'array' }))
    const sizes = []
    for (let part; (part = await cursor.read(700)).length > 0; ) sizes.push(part.length)
    assert.deepEqual(sizes, [700, 700, 700, 700, 700, 500])
    const left = db.query(new Cursor('SELECT n FROM long ORDER BY n'))
    assert.deepEqual(await left.read(2), [{ n: 1 }, { n: 2 }])
    await left.close()
    let sum = 0
    for await (const row of db.query(new QueryStream('SELECT n FROM long', [], { batchSize: 300 }))) sum += row.n
    assert.equal(sum, (5000 * 5001) / 2)
  },
)

check('commands tell what they did', ['CREATE TABLE counted (id int PRIMARY KEY, v text)'], async (db) => {
  const told = async (sql) => {
    const { command, rowCount } = await db.query(sql)
    return [command, rowCount]
  }
  assert.deepEqual(await told("INSERT INTO counted VALUES (1, 'a'), (2, NULL)"), ['INSERT', 2])
  assert.deepEqual(await told("UPDATE counted SET v = 'b'"), ['UPDATE', 2])
  assert.deepEqual(await told('SELECT * FROM counted'), ['SELECT', 2])
  assert.deepEqual(await told('DELETE FROM counted WHERE id = 9'), ['DELETE', 0])
  assert.deepEqual(await rows(db, "INSERT INTO counted VALUES (3, 'c') RETURNING v, id"), [['c', 3]])
  const several = await db.query("SELECT 1 AS a; SELECT 'x' AS b, 2 AS c; DELETE FROM counted")
  assert.deepEqual(several.map((result) => result.rows), [[{ a: 1 }], [{ b: 'x', c: 2 }], []])
  assert.equal(several[2].rowCount, 3)
})

check('transactions', ['CREATE TABLE account (id int PRIMARY KEY, balance int)', 'INSERT INTO account VALUES (1, 100)'], async (db) => {
  await connected({}, async (other) => {
    await db.query('BEGIN')
    await db.query('UPDATE account SET balance = 1')
    assert.deepEqual(await rows(other, 'SELECT balance FROM account'), [[100]])
    await db.query('SAVEPOINT s')
    assert.equal(await sqlstate(db.query('INSERT INTO account VALUES (1, 1)')), '23505')
    assert.equal(await sqlstate(db.query('SELECT 1')), '25P02')
    await db.query('ROLLBACK TO s')
    await db.query('COMMIT')
    assert.deepEqual(await rows(other, 'SELECT balance FROM account'), [[1]])
    await db.query('BEGIN')
    await db.query('UPDATE account SET balance = 2')
    await other.query('UPDATE account SET balance = 3')
    assert.equal(await sqlstate(db.query('COMMIT')), '40001')
    assert.deepEqual(await rows(db, 'SELECT balance FROM account'), [[3]])
  })
})

check('errors', ['CREATE TABLE strict (id int PRIMARY KEY, v int NOT NULL)'], async (db) => {
  for (const [sql, code, values] of [
    ['SELECT * FROM nowhere', '42P01'],
    ['SELECT nothing FROM strict', '42703'],
    ['SELEC 1', '42601'],
    ['SELECT $1::int', '22P02', ['x']],
    ['SELECT 1 / $1::int', '22012', [0]],
    ['INSERT INTO strict VALUES (1, $1)', '23502', [null]],
    ['BEGIN ISOLATION LEVEL SERIALIZABLE', '0A000'],
  ]) {
    assert.equal(await sqlstate(db.query(sql, values)), code, sql)
  }
  const error = await db.query('SELECT 1 +').catch((error) => error)
  assert.equal(error.severity, 'ERROR')
  assert.ok(Number(error.position) > 0)
  assert.deepEqual(await rows(db, 'SELECT 1'), [[1]])
  const noticed = once(db, 'notice')
  await db.query('DROP TABLE IF EXISTS never_there')
  assert.match((await noticed)[0].message, /never_there/)
  await assert.rejects(connected({ database: 'nowhere' }, () => {}), { code: '3D000' })
})

check('COPY', ['CREATE TABLE copied (id int, v text)'], async (db) => {
  await pipeline(Readable.from(['1\ta\\tb\n2', '\t\\N\n']), db.query(copy.from('COPY copied FROM STDIN')))
  const out = db.query(copy.to('COPY (SELECT * FROM copied ORDER BY id) TO STDOUT (FORMAT csv)'))
  let text = ''
  for await (const piece of out) text += piece
  assert.equal(text, '1,a\tb\n2,\n')
  const bad = pipeline(Readable.from(['3\tx\nno number\ty\n']), db.query(copy.from('COPY copied FROM STDIN')))
  assert.equal(await sqlstate(bad), '22P02')
  assert.deepEqual(await rows(db, 'SELECT count(*)::int FROM copied'), [[2]])
})

test('a pool', async () => {
  const pool = new pg.Pool({ max: 5 })
  const squares = await Promise.all(Array.from({ length: 60 }, (_, i) => pool.query('SELECT $1::int * $1::int AS square', [i])))
  assert.deepEqual(squares.map((result) => result.rows[0].square), Array.from({ length: 60 }, (_, i) => i * i))
  await pool.end()
})

test('a pipeline', () =>
  connected({ pipeline: true }, async (db) => {
    await db.query('CREATE TABLE piped (id int PRIMARY KEY)')
    const answers = await Promise.allSettled([
      ...Array.from({ length: 50 }, (_, i) => db.query('INSERT INTO piped VALUES ($1)', [i])),
      db.query('INSERT INTO piped VALUES ($1)', [1]),
      db.query('SELECT count(*)::int AS n FROM piped'),
    ])
    assert.equal(answers.filter((answer) => answer.status === 'fulfilled').length, 51)
    assert.equal(answers[50].reason.code, '23505')
    assert.deepEqual(answers[51].value.rows, [{ n: 50 }])
  }))

check('cancel', [], async (db) => {
  // Only a statement that has begun can be canceled, so the client asks until it has.
  const running = new pg.Query(ENDLESS)
  const failed = once(running, 'error')
  db.query(running)
  let error = null
  failed.then(([found]) => (error = found))
  while (!error) {
    const ended = connected({}, (other) => other.query('SELECT 1'))
    new pg.Client().cancel(db, running)
    await ended
  }
  assert.equal(error.code, '57014')
  assert.deepEqual(await rows(db, 'SELECT 1'), [[1]])
  await connected({ statement_timeout: 50, application_name: 'me' }, async (other) => {
    assert.equal(await sqlstate(other.query(ENDLESS)), '57014')
    assert.deepEqual(await rows(other, 'SHOW application_name'), [['me']])
  })
})

// What other databases do not have: streams, views that are kept, SUBSCRIBE; and LISTEN.
const SALES = (name) => [
  `CREATE STREAM ${name} (item text, price numeric(10,2))`,
  `CREATE MATERIALIZED VIEW ${name}_sold AS SELECT item, count(*) AS n FROM ${name} GROUP BY item`,
]

check('a view shows what was acknowledged', SALES('seen'), async (db) => {
  await connected({}, async (other) => {
    for (let n = 1; n <= 10; n++) {
      await other.query('INSERT INTO seen VALUES ($1, $2)', ['ball', 2.5])
      assert.deepEqual(await rows(db, 'SELECT * FROM seen_sold'), [['ball', String(n)]])
    }
  })
})

check('SUBSCRIBE row by row, until it is canceled', SALES('followed'), async (db) => {
  await connected({}, async (other) => {
    const sell = () => other.query("INSERT INTO followed VALUES ('ball', 1)")
    const subscription = new pg.Query({ text: 'SUBSCRIBE followed_sold', rowMode: 'array' })
    const failed = once(subscription, 'error')
    const changes = []
    let wake = () => {}
    subscription.on('row', (row) => {
      changes.push(row.slice(1))
      wake()
    })
    const seen = async (n) => {
      while (changes.length < n) await new Promise((resolve) => (wake = resolve))
      return changes.splice(0).sort()
    }
    await sell()
    db.query(subscription)
    assert.deepEqual(await seen(1), [['1', 'ball', '1']])
    await sell()
    assert.deepEqual(await seen(2), [
      ['-1', 'ball', '1'],
      ['1', 'ball', '2'],
    ])
    new pg.Client().cancel(db, subscription)
    assert.equal((await failed)[0].code, '57014')
    assert.deepEqual(await rows(db, 'SELECT n FROM followed_sold'), [['2']])
  })
})

check('SUBSCRIBE in parts', SALES('read'), async (db) => {
  await connected({}, async (other) => {
    await other.query("INSERT INTO read VALUES ('ball', 1), ('cup', 1)")
    const cursor = db.query(new Cursor('SUBSCRIBE read_sold', [], { rowMode: 'array' }))
    const items = [...(await cursor.read(1)), ...(await cursor.read(1))].map((row) => row[2])
    assert.deepEqual(items.sort(), ['ball', 'cup'])
    const next = cursor.read(1)
    await other.query("INSERT INTO read VALUES ('hat', 1)")
    assert.deepEqual((await next)[0].slice(1), ['1', 'hat', '1'])
    await cursor.close()
    assert.deepEqual(await rows(db, 'SELECT count(*)::int FROM read_sold'), [[3]])
  })
})

check('LISTEN', SALES('heard'), async (db) => {
  await connected({}, async (other) => {
    await db.query('LISTEN news')
    const news = once(db, 'notification')
    await other.query("NOTIFY news, 'hello'")
    const [{ channel, payload }] = await news
    assert.deepEqual([channel, payload], ['news', 'hello'])
    await db.query('LISTEN heard_sold')
    const changed = once(db, 'notification')
    await other.query("INSERT INTO heard VALUES ('ball', 1)")
    const [change] = await changed
    assert.equal(change.channel, 'heard_sold')
    assert.match(change.payload, /^\d+$/)
  })
})
