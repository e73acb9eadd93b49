// One outbox that three processes hand on to each other: each starts, delivers a little, and is closed or killed
// within seconds, again and again. At last one may run to its end; then nothing is lost, nothing came twice
// unmarked, and every outcome was heard of.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteStore } from 'steadymail/sqlite'
import { audit, type Counts } from './fixtures/audit.ts'
import { type Child, start } from './fixtures/child.ts'
import { type ChaosPlan, chance } from './fixtures/plan.ts'
import { hesitantServer } from './fixtures/stage.ts'

/** New messages per life. */
const LOAD = 40
/** Keys that one life hands over once more, those of the life before. */
const AGAIN = 20
/** From its first instruction, or from when the file is open. */
const LONGEST_MS = 1_500

export interface HandedOver extends Counts {
  readonly kills: number
  /** How often a process took the lease. */
  readonly owners: number
}

/** @param seed of the lives; only they follow from it, not what the machine does meanwhile */
export async function handOver(lives: number, seed: number): Promise<HandedOver> {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-chaos-'))
  const file = join(folder, 'outbox.db')
  const random = chance(seed)
  const server = await hesitantServer(random)
  // a pause of 15 minutes after a crash takes 3 s of the machine's, a lease a third of a second
  const plan: ChaosPlan = {
    file,
    port: server.port,
    factor: 300,
    stretch: 10,
    epoch: Date.now(),
    onSettled: {},
  }
  const children: Child[] = []
  let from = 0
  let left = lives
  let kills = 0
  const liveOn = async () => {
    while (left-- > 0) {
      const again = from > 0 && random() < 0.3 ? AGAIN : 0
      const child = await start({
        ...plan,
        from: from - again,
        messages: LOAD,
        atOnce: 5,
        again: true,
        serve: true,
        deliver: random() < 0.8,
        onSettled: { rejects: random() < 0.3 ? 3 : 0 },
      })
      from += LOAD - again
      children.push(child)
      // some die while they open the file; a busy machine takes a second for that
      if (random() < 0.8) await child.hears('open').catch(() => undefined)
      const signal = random() < 0.4 ? 'SIGKILL' : 'SIGTERM'
      const timer = setTimeout(() => child.kill(signal), LONGEST_MS * random())
      if ((await child.ended) === 'SIGKILL') kills++
      clearTimeout(timer)
    }
  }
  try {
    await Promise.all([liveOn(), liveOn(), liveOn()])
    const last = await start({ ...plan, from, messages: 1, person: 'deliver' })
    children.push(last)
    await last.ended
    const counts = await audit(file, new Set(children.flatMap((child) => child.said('stored'))), server)
    const heard = new Set(children.flatMap((child) => child.said('settled')))
    const unheard = [...(await ended(file))].filter((key) => !heard.has(key))
    return {
      ...counts,
      wrong: [...counts.wrong, ...unheard.map((key) => `${key}: nobody heard of its outcome`)],
      parked: last.said('parked').length,
      kills,
      owners: children.flatMap((child) => child.said('owner')).filter((owns) => owns === 'true').length,
    }
  } finally {
    for (const child of children) child.kill()
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Keys of what has ended. */
async function ended(file: string): Promise<Set<string>> {
  const store = sqliteStore(file)
  await store.open()
  try {
    const stored = await store.list({ settledSince: 0, limit: 1_000_000 })
    return new Set(stored.map(({ message }) => message.key ?? 'a mail without a key'))
  } finally {
    await store.close()
  }
}
