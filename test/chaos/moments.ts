// One outbox, under load, whose process is killed at random moments, start-up included, again and again; at
// last one may run to its end, and the file is audited against the server's log.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { audit, type Counts } from './fixtures/audit.ts'
import { start } from './fixtures/child.ts'
import { addressOf, type ChaosPlan, chance } from './fixtures/plan.ts'
import { hesitantServer } from './fixtures/stage.ts'

/** A pause of 15 minutes after a crash takes 3 s of the machine's. */
const FACTOR = 300
/** New messages per life. */
const LOAD = 40
/** A life lasts at most so long, from its first instruction on. */
const LONGEST_MS = 900

export interface Moments extends Counts {
  /** Processes that died before they had ended by themselves. */
  readonly kills: number
}

/** @param seed of the moments; only they follow from it, not what the machine does meanwhile */
export async function runMoments(kills: number, seed: number): Promise<Moments> {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-chaos-'))
  const file = join(folder, 'outbox.db')
  const random = chance(seed)
  const server = await hesitantServer(random)
  const stored = new Set<string>()
  const plan: ChaosPlan = { file, port: server.port, factor: FACTOR, epoch: Date.now(), name: 'the only one' }
  let killed = 0
  let from = 0
  const unconfirmed = () => {
    while (stored.has(addressOf(from))) from++
    return from
  }
  try {
    while (killed < kills) {
      const child = await start({ ...plan, from: unconfirmed(), messages: LOAD, atOnce: 5 })
      const timer = setTimeout(() => child.kill(), LONGEST_MS * random())
      if ((await child.ended) === 'SIGKILL') killed++
      clearTimeout(timer)
      for (const to of child.said('stored')) stored.add(to)
    }
    const last = await start({ ...plan, from: unconfirmed(), messages: LOAD, person: 'deliver' })
    await last.ended
    for (const to of last.said('stored')) stored.add(to)
    const counts = await audit(file, stored, server)
    return { ...counts, parked: last.said('parked').length, kills: killed }
  } finally {
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
