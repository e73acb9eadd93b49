// The disk is full, the file is read-only, locked by another process, deleted under us, and statements fail with
// I/O errors, all while mail flows. What is refused is handed over again under the same key, as the documentation
// says that one should; in the end all is delivered, and audited against the server's log.

import {
  closeSync,
  copyFileSync,
  linkSync,
  openSync,
  rmSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { openRaw } from '../stores/fixtures/files.ts'
import type { Counts } from './fixtures/audit.ts'
import type { Child } from './fixtures/child.ts'
import { readOnly, smallDisk } from './fixtures/mounts.ts'
import { type ChaosPlan, chance } from './fixtures/plan.ts'
import { on, type Stage, taken } from './fixtures/stage.ts'

export interface Refusals extends Counts {
  /** Calls that were refused and made again. */
  readonly refused: number
  /** How it was brought about. */
  readonly how: string
}

const LOAD: Partial<ChaosPlan> = { again: true, name: 'the only one', lockWaitMs: 250 }
/** New mail until it is told to stop. */
const STREAM: Partial<ChaosPlan> = { messages: 100_000, atOnce: 5, everyMs: 20, serve: true }

/** Sees that mail is taken again, stops that, and lets one that has nothing of its own to do deliver the rest. */
async function finish({ start }: Stage, last: Child): Promise<void> {
  await last.hears('stored', last.said('stored').length + 10)
  last.kill('SIGTERM')
  await last.ended
  await (await start({ messages: 0, serve: false })).ended
}

/** Refusals of the given processes, and those that say something else than they should. */
function refusals(children: readonly Child[], expected: RegExp): { refused: number; wrong: string[] } {
  // a call under way when its process is told to stop is no matter of the disk
  const all = children.flatMap((child) => child.said('refused')).filter((text) => !text.includes(' CLOSED '))
  return { refused: all.length, wrong: all.filter((text) => !expected.test(text)).slice(0, 3) }
}

const DISK_FULL = /STORE_FAILED .*the disk (is full|is nearly full|cannot be read or written)/
const DISK_BYTES = 16 << 20
/** As much of it as the default is of a usual disk: what must stay free, so that the log can be copied back. */
const KEPT_BYTES = 4 << 20

/** The disk is full three times, one of them while the process is killed and started again. */
export async function diskFull(): Promise<Refusals> {
  const disk = smallDisk(DISK_BYTES)
  const children: Child[] = []
  const plan: Partial<ChaosPlan> = { ...LOAD, ...STREAM, size: 20_000, minFreeBytes: KEPT_BYTES }
  // what is delivered makes room: nothing is while there is to be none
  let full = disk === undefined
  const trial = async (stage: Stage) => {
    const { server, start } = stage
    server.use(async ({ phase }) => {
      while (phase === 'dot' && full) await new Promise((resolve) => setTimeout(resolve, 10))
      return undefined
    })
    let child = await start()
    children.push(child)
    const refuses = () => child.hears('refused', child.said('refused').length + 3)
    if (disk === undefined) {
      await refuses()
      full = false
      await taken(server, 20)
      return finish(stage, child)
    }
    for (const kill of [false, true, false]) {
      await taken(server, server.messages.length + 15)
      full = true
      const ballast = fill(disk.folder)
      await refuses()
      if (kill) {
        child.kill()
        await child.ended
        child = await start()
        children.push(child)
        await refuses() // to be opened, or to take anything
      }
      rmSync(ballast)
      full = false
    }
    return finish(stage, child)
  }
  try {
    const counts =
      disk === undefined
        ? await on({ ...plan, sick: { pages: 100 } }, trial)
        : await on(plan, trial, disk.folder)
    const { refused, wrong } = refusals(children, DISK_FULL)
    counts.wrong.push(...wrong)
    return { ...counts, refused, how: disk === undefined ? 'page limit of SQLite' : 'tmpfs of 16 MiB' }
  } finally {
    disk?.remove()
  }
}

/** Leaves no byte, whoever else is writing. */
function fill(folder: string): string {
  const ballast = join(folder, 'ballast')
  const handle = openSync(ballast, 'w')
  try {
    for (const piece = Buffer.alloc(4_096); ; ) writeSync(handle, piece)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    closeSync(handle)
  }
  return ballast
}

/** Read-only when it is opened, and twice while mail flows. */
export async function readOnlyFile(): Promise<Refusals> {
  const children: Child[] = []
  let how = 'SQLite told not to write'
  const counts = await on({ ...LOAD }, async (stage) => {
    const { server, plan, start } = stage
    const desk = await start({ deliver: false, messages: 20, serve: true })
    await desk.hears('handed-over')
    desk.kill('SIGTERM')
    await desk.ended
    const flag = `${plan.file}.read-only`
    const undo = readOnly(plan.file)
    if (undo !== undefined) how = process.getuid?.() === 0 ? 'mounted read-only; SQLite' : 'its mode; SQLite'
    else writeFileSync(flag, '')
    const child = await start({ ...STREAM, from: 1_000, sick: { readOnlyWhile: flag } })
    children.push(desk, child)
    await child.hears('refused', 2)
    undo?.()
    rmSync(flag, { force: true })
    for (let times = 0; times < 2; times++) {
      await taken(server, server.messages.length + 10)
      writeFileSync(flag, '')
      await child.hears('refused', child.said('refused').length + 3)
      rmSync(flag)
    }
    await finish(stage, child)
  })
  const { refused, wrong } = refusals(children, /STORE_FAILED .*(read-only|cannot be opened)/)
  counts.wrong.push(...wrong)
  return { ...counts, refused, how: how.replace(/; SQLite$/, ', then SQLite told not to write') }
}

const LOCKED = /STORE_FAILED .*locked by another process \(SQLITE_BUSY\)/

/** Another process holds SQLite's lock for longer than a write waits, three times. */
export async function lockedFile(): Promise<Refusals> {
  const children: Child[] = []
  const counts = await on({ ...LOAD, ...STREAM }, async (stage) => {
    const { server, plan, start } = stage
    const child = await start()
    children.push(child)
    await taken(server, 5)
    const other = openRaw(plan.file)
    try {
      other.exec('PRAGMA busy_timeout = 5000')
      for (let times = 0; times < 3; times++) {
        await taken(server, server.messages.length + 10)
        other.exec('BEGIN IMMEDIATE')
        await child.hears('refused', child.said('refused').length + 2)
        other.exec('ROLLBACK')
      }
    } finally {
      other.close()
    }
    await finish(stage, child)
  })
  const { refused, wrong } = refusals(children, LOCKED)
  counts.wrong.push(...wrong)
  return { ...counts, refused, how: 'BEGIN IMMEDIATE' }
}

/** A process is stopped inside a transaction; later it goes on, or is killed where it stands. */
export async function stoppedInTransaction(end: 'SIGCONT' | 'SIGKILL'): Promise<Refusals> {
  const children: Child[] = []
  const counts = await on({ ...LOAD, messages: 0 }, async ({ server, start }) => {
    const first = await start({ messages: 40, serve: true })
    await taken(server, 10)
    const desk = await start({
      deliver: false,
      from: 100,
      messages: 20,
      atOnce: 2,
      sick: { stopInTransaction: 4 },
    })
    await desk.hears('paused')
    const other = await start({ deliver: false, from: 200, messages: 20 })
    children.push(first, other)
    // whoever wants to write is told so, instead of waiting for ever
    await other.hears('refused', 3)
    desk.kill(end)
    if (end === 'SIGKILL') await start({ deliver: false, from: 100, messages: 20 })
    await other.ended
    await desk.ended
    await first.hears('handed-over')
    await taken(server, 80)
    first.kill('SIGTERM')
    await first.ended
    await (await start()).ended
  })
  const { refused, wrong } = refusals(children, LOCKED)
  counts.wrong.push(...wrong)
  return { ...counts, refused, how: end === 'SIGKILL' ? 'then killed' : 'then continued' }
}

/** How long after a deletion mail may still be confirmed (durable.ts looks every 100 ms, with a write). */
const NOTICED_MS = 100
/** Between the fsync and the line that says so, on a machine with other work. */
const SLACK_MS = 1_000

export interface Deleted extends Refusals {
  /** Messages confirmed after the file was gone: they are in it all the same. */
  readonly into: number
}

/** The file and its log are deleted under load; a link to both is put back later, as a person would. */
export async function deletedFile(): Promise<Deleted> {
  const children: Child[] = []
  let into = 0
  const late: string[] = []
  const counts = await on({ ...LOAD, ...STREAM, exact: true }, async ({ server, plan, start }) => {
    const child = await start()
    children.push(child)
    await taken(server, 30)
    const names = [plan.file, `${plan.file}-wal`]
    for (const name of names) linkSync(name, `${name}.kept`)
    for (const name of [...names, `${plan.file}-shm`]) unlinkSync(name)
    const deletedAt = Date.now()
    await child.hears('refused', 5)
    child.kill()
    await child.ended
    for (const text of child.said('stored')) {
      const [to = '', at = ''] = text.split(' ')
      if (Number(at) > deletedAt) into++
      if (Number(at) > deletedAt + NOTICED_MS + SLACK_MS) late.push(`${to}: confirmed into the void`)
    }
    // whoever starts meanwhile begins with an empty file, and does not know of the other
    const stranger = await start({ messages: 0, serve: false })
    await stranger.ended
    for (const name of names) {
      rmSync(name, { force: true })
      copyFileSync(`${name}.kept`, name)
    }
    await (await start({ messages: 0, serve: false })).ended
  })
  const { refused, wrong } = refusals(children, /STORE_FAILED .*deleted or replaced while it was in use/)
  counts.wrong.push(...wrong, ...late)
  return { ...counts, refused, into, how: 'unlink' }
}

/** In bad spells a third of all statements, or of all calls of the store, fails. */
export async function ioErrors(where: 'statements' | 'store', seed: number): Promise<Refusals> {
  const children: Child[] = []
  const errors = { share: 0.3, seed }
  const counts = await on(
    {
      ...LOAD,
      messages: 200,
      ...(where === 'store' ? { storeErrors: errors } : { sick: { errors } }),
    },
    async ({ server, start }) => {
      const random = chance(seed)
      server.use(async ({ phase }) => {
        if (phase === 'dot') await new Promise((resolve) => setTimeout(resolve, 40 * random()))
        return undefined
      })
      const child = await start()
      children.push(child)
      await child.ended
    },
  )
  const { refused, wrong } = refusals(children, /STORE_FAILED|EIO/)
  counts.wrong.push(...wrong)
  return { ...counts, refused, how: where }
}
