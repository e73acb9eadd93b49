import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type DriverSource, findDriver } from '../../src/stores/sqlite/driver.ts'
import { APPLICATION_ID, MIGRATIONS, migrate } from '../../src/stores/sqlite/schema.ts'
import { sqliteStore } from '../../src/stores/sqlite/store.ts'
import { sampleMessage } from '../../src/testing/store-contract.ts'
import { driverWith, files, openRaw, own } from './fixtures/files.ts'

const fresh = files()
const failure = async (opening: Promise<unknown>) => {
  const error = await opening.then(
    () => undefined,
    (reason) => reason,
  )
  return error && { code: error.code, message: error.message }
}

describe('the file name', () => {
  it.each([
    ['', "sqliteStore(file): expected a file name, got ''"],
    [
      ':memory:',
      "sqliteStore(file): expected a file name (memoryStore() keeps mail in memory), got ':memory:'",
    ],
    [
      'file:outbox.db?mode=ro',
      "sqliteStore(file): expected a file name, not a URI, got 'file:outbox.db?mode=ro'",
    ],
    ['a\0b', "sqliteStore(file): expected a file name without NUL, got 'a\\x00b'"],
  ])('%j is refused', (name, message) => {
    expect(() => sqliteStore(name)).toThrow(expect.objectContaining({ code: 'BAD_OPTION', message }))
  })

  it('an unknown option is refused by name', () => {
    const options = { drvier: 1 } as object
    expect(() => sqliteStore('x.db', options)).toThrow(
      "sqliteStore.drvier: expected one of driver, lockWaitMs, minFreeBytes, clock, got 'drvier'",
    )
    expect(() => sqliteStore('x.db', { lockWaitMs: -1 })).toThrow(
      'sqliteStore.lockWaitMs: expected milliseconds, 0 or more, got -1',
    )
  })

  it('making a store touches nothing', () => {
    const file = fresh()
    sqliteStore(file)
    expect(existsSync(file)).toBe(false)
  })

  it('a folder is refused, and a folder that is missing is named', async () => {
    const folder = `${fresh()}.d`
    mkdirSync(folder)
    expect(await failure(sqliteStore(folder).open())).toEqual({
      code: 'STORE_FAILED',
      message: `${folder}: a folder, not a file`,
    })
    const lost = join(folder, 'no', 'outbox.db')
    expect(await failure(sqliteStore(lost).open())).toEqual({
      code: 'STORE_FAILED',
      message: `${lost}: its folder cannot be read`,
    })
  })
})

describe('a link to the file', () => {
  const linked = async (link: string, target: string, from: string) => {
    symlinkSync(target, link)
    const store = sqliteStore(link)
    await store.open()
    await store.add(sampleMessage(['a@x.test']), undefined, 0)
    expect(existsSync(`${from}-wal`)).toBe(true)
    const beside = sqliteStore(from)
    await beside.open()
    expect((await beside.counts()).waiting).toBe(1)
    await beside.close()
    await store.close()
    expect(statSync(from).mode & 0o777).toBe(0o600)
  }

  it('opens what it leads to, with others who name that', async () => {
    const file = fresh()
    const store = sqliteStore(file)
    await store.open()
    await store.close()
    await linked(`${file}.link`, file, file)
  })

  it('makes what it leads to, for the owner only', async () => {
    const file = fresh()
    await linked(`${file}.link`, file, file)
  })

  it('is followed from the folder where it really is, over another link', async () => {
    const root = `${fresh()}.d`
    mkdirSync(join(root, 'releases/7/config'), { recursive: true })
    mkdirSync(join(root, 'shared'))
    symlinkSync(join(root, 'releases/7/config'), join(root, 'current'))
    symlinkSync('second.db', join(root, 'shared/first.db'))
    await linked(join(root, 'current/outbox.db'), '../../../shared/first.db', join(root, 'shared/second.db'))
  })

  it('to itself is refused', async () => {
    const link = fresh()
    symlinkSync(link, link)
    expect(await failure(sqliteStore(link).open())).toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining(`${link}: `),
    })
  })

  it('that leads elsewhere while it is in use is noticed', async () => {
    const [file, other] = [fresh(), fresh()]
    const link = `${file}.link`
    symlinkSync(file, link)
    let looked = 0
    const clock = { ...systemClock, monotonic: () => (looked += 1000) }
    const store = sqliteStore(link, { clock })
    await store.open()
    writeFileSync(other, '')
    rmSync(link)
    symlinkSync(other, link)
    expect(await failure(store.add(sampleMessage(['a@x.test']), undefined, 0))).toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining(`${link}: deleted or replaced`),
    })
    await store.close()
  })
})

describe('who may read it', () => {
  it('the file, its log and its index are for the owner only, whatever the umask', async () => {
    const umask = process.umask(0)
    const file = fresh()
    const store = sqliteStore(file)
    try {
      await store.open()
      await store.add(sampleMessage(['a@x.test']), undefined, 0)
      for (const name of [file, `${file}-wal`, `${file}-shm`]) expect(statSync(name).mode & 0o777).toBe(0o600)
    } finally {
      process.umask(umask)
      await store.close()
    }
  })

  it('rights that an administrator gave to an existing file are kept', async () => {
    const file = fresh()
    const store = sqliteStore(file)
    await store.open()
    await store.close()
    chmodSync(file, 0o660)
    await store.open()
    await store.close()
    expect(statSync(file).mode & 0o777).toBe(0o660)
  })
})

describe('what is in the file', () => {
  it('a file that is no database is refused and left as it was', async () => {
    const file = fresh()
    writeFileSync(file, 'Dear diary, today '.repeat(100))
    expect(await failure(sqliteStore(file).open())).toEqual({
      code: 'STORE_FAILED',
      message: `${file}: the file is no SQLite database (SQLITE_NOTADB)`,
    })
    expect(readFileSync(file, 'utf8')).toContain('Dear diary')
  })

  it("somebody else's database is refused and left as it was", async () => {
    const file = fresh()
    const db = openRaw(file)
    db.exec('CREATE TABLE customers (name TEXT); PRAGMA user_version = 1')
    db.close()
    expect(await failure(sqliteStore(file).open())).toEqual({
      code: 'STORE_SCHEMA',
      message: `${file}: this SQLite database is no steadymail outbox`,
    })
    const after = openRaw(file)
    expect(after.prepare('SELECT name FROM sqlite_master').all()).toHaveLength(1)
    expect(after.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'delete' })
    after.close()
  })

  it('a file of a newer version is refused with both versions', async () => {
    const file = fresh()
    const store = sqliteStore(file)
    await store.open()
    await store.close()
    const db = openRaw(file)
    db.exec('PRAGMA user_version = 99')
    db.close()
    expect(await failure(store.open())).toEqual({
      code: 'STORE_SCHEMA',
      message: `${file}: made by a newer steadymail (schema 99, this version knows ${MIGRATIONS.length}): upgrade it`,
    })
  })

  it('a damaged file is refused by name', async () => {
    const file = fresh()
    const store = sqliteStore(file)
    await store.open()
    await store.close()
    const bytes = readFileSync(file)
    bytes.fill(0x5a, 100, 4096)
    writeFileSync(file, bytes)
    const error = await failure(store.open())
    expect(error?.code).toBe('STORE_FAILED')
    expect(error?.message).toContain(file)
  })

  it('an empty file becomes an outbox', async () => {
    const file = fresh()
    writeFileSync(file, '')
    const store = sqliteStore(file)
    await store.open()
    expect((await store.counts()).waiting).toBe(0)
    await store.close()
  })

  it('a file that cannot be written is refused when it is opened, not with the first mail', async () => {
    const file = fresh()
    const store = sqliteStore(file)
    await store.open()
    await store.close()
    expect(await failure(sqliteStore(file, { driver: driverWith('PRAGMA query_only = ON') }).open())).toEqual(
      {
        code: 'STORE_FAILED',
        message: `${file}: read-only (SQLITE_READONLY)`,
      },
    )
  })

  it('a disk that is full while the tables are made is called that', async () => {
    const file = fresh()
    const driver = driverWith('PRAGMA max_page_count = 8')
    expect(await failure(sqliteStore(file, { driver }).open())).toEqual({
      code: 'STORE_FAILED',
      message: `${file}: the disk is full (SQLITE_FULL)`,
    })
    const store = sqliteStore(file)
    await store.open()
    await store.close()
  })

  it('a store that is not open says so', async () => {
    expect(await failure(sqliteStore('never.db').counts())).toMatchObject({ code: 'CLOSED' })
  })

  it('each open wants its close', async () => {
    const store = sqliteStore(fresh())
    await store.open()
    await store.open()
    await store.close()
    expect((await store.counts()).waiting).toBe(0)
    await store.close()
    expect(await failure(store.counts())).toMatchObject({ code: 'CLOSED' })
  })
})

describe('opened and closed by several mailers of a process', () => {
  it('what is opened while it closes is open', async () => {
    const store = sqliteStore(fresh())
    await store.open()
    const closing = store.close()
    await store.open()
    await closing
    await store.add(sampleMessage(['a@x.test']), undefined, 0)
    expect((await store.counts()).waiting).toBe(1)
    await store.close()
  })

  it('what is closed while it opens is closed', async () => {
    const file = fresh()
    const store = sqliteStore(file)
    const opening = store.open()
    await store.close()
    await opening
    expect(await failure(store.counts())).toMatchObject({ code: 'CLOSED' })
    expect(existsSync(`${file}-wal`)).toBe(false)
  })
})

describe('upgrades', () => {
  const steps = [...MIGRATIONS, 'ALTER TABLE lane ADD COLUMN note TEXT']
  const next = [...steps, "UPDATE lane SET note = 'seen'"]

  async function filled(): Promise<string> {
    const file = fresh()
    const store = sqliteStore(file)
    await store.open()
    const owner = await own(store)
    await store.turn({
      owner,
      now: 0,
      until: 1,
      settle: [],
      claims: [],
      lanes: () => [{ key: 'x.test', state: '{}' }],
      keepOutcomes: false,
    })
    await store.add(sampleMessage(['a@x.test']), undefined, owner)
    await store.close()
    return file
  }

  it('an older file is brought forward step by step, and keeps what is in it', async () => {
    const file = await filled()
    const db = openRaw(file)
    migrate(db, file, next)
    expect(db.prepare('SELECT key, note FROM lane').get()).toMatchObject({ key: 'x.test', note: 'seen' })
    expect(db.prepare('SELECT count(*) AS n FROM message').get()).toMatchObject({ n: 1 })
    expect(db.prepare('PRAGMA user_version').get()).toMatchObject({ user_version: next.length })
    expect(db.prepare('PRAGMA application_id').get()).toMatchObject({ application_id: APPLICATION_ID })
    migrate(db, file, next)
    db.close()
  })

  it('a step that fails leaves the file at the version it had', async () => {
    const file = await filled()
    const db = openRaw(file)
    expect(() => migrate(db, file, [...steps, 'nonsense'])).toThrow()
    expect(db.prepare('PRAGMA user_version').get()).toMatchObject({ user_version: MIGRATIONS.length })
    expect(() => db.prepare('SELECT note FROM lane')).toThrow()
    // SQLite itself rolls back after some failures: what failed is told all the same
    const undone = [...steps, 'INSERT OR ROLLBACK INTO lane SELECT key, state, note FROM lane']
    expect(() => migrate(db, file, undone)).toThrow('UNIQUE constraint failed')
    db.close()
    const store = sqliteStore(file)
    await store.open()
    expect((await store.counts()).waiting).toBe(1)
    await store.close()
  })
})

describe('the driver', () => {
  class Own {}
  class Better {}
  const source = (node: string, better: string | undefined, loads = true): DriverSource => ({
    node,
    builtin: (name) => (name === 'node:sqlite' ? { DatabaseSync: Own } : undefined),
    require: (name) => {
      if (better === undefined) throw new Error('Cannot find module')
      if (name.endsWith('package.json')) return { version: better }
      if (!loads) throw new Error('was compiled against a different Node.js version')
      return Better
    },
  })
  const refusal = (...given: Parameters<typeof source>) => {
    try {
      return findDriver(source(...given))
    } catch (error) {
      return error
    }
  }

  it.each(['22.13.0', '22.20.1', '24.0.0', '25.1.0'])('Node %s brings its own, and it is used', (node) => {
    expect(findDriver(source(node, '12.4.0'))).toBe(Own)
  })

  it.each(['20.19.0', '22.12.0'])('Node %s uses better-sqlite3', (node) => {
    expect(findDriver(source(node, '12.4.0'))).toBe(Better)
  })

  it('where there is none, the error says what to install', () => {
    expect(refusal('20.19.0', undefined)).toMatchObject({
      code: 'STORE_DRIVER',
      message:
        'Node 20.19.0 has no SQLite of its own (22.13 and later do) and better-sqlite3 is not installed: npm install better-sqlite3@12',
    })
  })

  it('better-sqlite3 13 on Node 20 is refused before it crashes the process', () => {
    expect(refusal('20.19.0', '13.0.1')).toMatchObject({
      code: 'STORE_DRIVER',
      message:
        'better-sqlite3 13 crashes on Node 20.19.0: npm install better-sqlite3@12, or use Node 22.13 or later',
    })
  })

  it('one that does not load is named with its cause', () => {
    const error = refusal('20.19.0', '12.0.0', false) as Error
    expect(error).toMatchObject({ code: 'STORE_DRIVER' })
    expect((error.cause as Error).message).toContain('different Node.js version')
  })

  it("the user's own comes first", async () => {
    const opened: string[] = []
    const Real = findDriver()
    const file = fresh()
    const store = sqliteStore(file, {
      driver: class extends Real {
        constructor(name: string) {
          super(name)
          opened.push(name)
        }
      },
    })
    await store.open()
    await store.close()
    expect(opened).toEqual([file])
  })
})
