// A disk whose every fsync takes long: mail is stored and delivered all the same, in larger groups, and the event loop
// does not wait for the disk.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Counts } from './fixtures/audit.ts'
import { preloadable } from './fixtures/preload.ts'
import { on } from './fixtures/stage.ts'

export interface Slow extends Counts {
  /** Fsyncs for which the event loop waited between opening and the end. */
  readonly waitedFor: readonly string[]
  readonly how: string
}

/** 1,500 messages mean several logs. Where there is no C compiler, the disk is as fast as it is. */
export async function slowDisk(ms: number, messages: number): Promise<Slow> {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-slow-'))
  const log = join(folder, 'fsyncs')
  const told = () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : [])
  const library = preloadable('slow')
  const env = { SLOW_MS: String(ms), SLOW_LOG: log, UV_USE_IO_URING: '0' }
  const under = library === undefined ? {} : { env: { ...env, LD_PRELOAD: library } }
  let opened = 0
  try {
    const counts = await on({ name: 'the only one', messages, size: 4_096 }, async ({ start }) => {
      const child = await start({}, under)
      await child.hears('open')
      opened = told().length
      await child.ended
    })
    const how = library === undefined ? 'as fast as it is' : `every fsync takes ${ms} ms longer`
    return { ...counts, waitedFor: told().slice(opened), how }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
