// Bringing the database file to the disk without opening it, since closing it again would drop SQLite's locks.

import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { FileSync } from '../../src/stores/sqlite/file-sync.ts'
import { files, openRaw } from './fixtures/files.ts'

const fresh = files()
/** The descriptors that this process has open, where the system shows them. */
const FOLDER = process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd'
const open = () => readdirSync(FOLDER).length

it.skipIf(process.platform === 'win32')(
  'a descriptor of SQLite is found and used; none is opened',
  async () => {
    const file = fresh()
    const db = openRaw(file)
    db.exec('PRAGMA journal_mode = WAL; CREATE TABLE a (b)')
    const before = open()
    const sync = new FileSync(file)
    const synced: number[] = []
    const spied = new FileSync(file, (descriptor, done) => {
      synced.push(descriptor)
      done()
    })
    await sync.sync()
    await spied.sync()
    await spied.sync()
    expect(open()).toBe(before)
    expect(synced).toHaveLength(2)
    expect(synced[0]).toBeGreaterThan(2)
    db.close()
    await spied.sync() // closed by now, and perhaps another file's number
    expect(synced).toHaveLength(2)
    const again = openRaw(file)
    await spied.sync()
    expect(synced, 'looked for once').toHaveLength(2)
    again.close()
  },
)

it('where there is nothing to find, nothing is done', async () => {
  const folder = fresh()
  mkdirSync(folder)
  const nobodys = `${folder}/file`
  writeFileSync(nobodys, '')
  const synced: number[] = []
  const spy = (descriptor: number, done: () => void) => {
    synced.push(descriptor)
    done()
  }
  await new FileSync(nobodys, spy).sync()
  await new FileSync(`${folder}/missing`, spy).sync()
  const db = openRaw(`${folder}/a.db`)
  db.exec('CREATE TABLE a (b)')
  renameSync(`${folder}/a.db`, `${folder}/b.db`)
  writeFileSync(`${folder}/a.db`, 'another')
  await new FileSync(`${folder}/a.db`, spy).sync()
  expect(synced).toEqual([])
  db.close()
  rmSync(folder, { recursive: true })
})
