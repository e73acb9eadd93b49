// Power cuts under load: the process is killed at a random moment, and its files are put in a state that a disk
// could have been left in: what an fsync has confirmed is there, of everything else chance decides (cut.ts). The
// next process begins from those bytes. At last one may run to its end, and the file is audited.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { audit, type Counts } from './fixtures/audit.ts'
import { start } from './fixtures/child.ts'
import { cutPower, type Fsyncs, SURVIVALS, watch } from './fixtures/cut.ts'
import { addressOf, type ChaosPlan, chance } from './fixtures/plan.ts'
import { hesitantServer } from './fixtures/stage.ts'

/** A pause of 15 minutes after a crash takes 3 s of the machine's. */
const FACTOR = 300
const LOAD = 60
const LARGE = 100_000
const LONGEST_MS = 500
/**
 * What was sent so long before a cut may be sent again unmarked, with `onUncertain: 'retry'`: 20 ms until its claim is
 * on its way to the disk and an fsync, which takes longer here, since each makes a copy of the file.
 */
const LAST_MOMENTS_MS = 500

export interface Cuts extends Counts {
  readonly cuts: number
  /** Sent again without a mark, in the last moments before a cut, as the guarantees say. */
  readonly lastMoments: number
  /** How long before its cut the earliest of them was first taken, ms. */
  readonly earliestMs: number
  readonly how: string
}

/** Cuts the power so often. Where there is no C compiler, only Node's own fsyncs are heard of. */
export async function powerCuts(
  cuts: number,
  seed: number,
  onUncertain: 'retry' | 'park' | 'fail',
  fsyncs: Fsyncs = 'all',
): Promise<Cuts> {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-cut-'))
  const disk = join(folder, 'disk')
  const synced = join(folder, 'synced')
  mkdirSync(disk)
  const random = chance(seed)
  const server = await hesitantServer(random)
  const under = watch(disk, synced, fsyncs)
  const plan: ChaosPlan = {
    file: join(disk, 'outbox.db'),
    port: server.port,
    factor: FACTOR,
    epoch: Date.now(),
    name: 'the only one',
    onUncertain,
  }
  const stored = new Set<string>()
  const cutAt: number[] = []
  let from = 0
  const unconfirmed = () => {
    while (stored.has(addressOf(from))) from++
    return from
  }
  try {
    while (cutAt.length < cuts) {
      // large ones fill the log, so that it is copied and begun anew
      const size = random() < 0.5 ? LARGE : undefined
      const load = { from: unconfirmed(), messages: LOAD, atOnce: 5, ...(size !== undefined && { size }) }
      const child = await start({ ...plan, ...load }, under)
      // one in five while it starts
      if (random() > 0.2) await child.hears('open')
      const timer = setTimeout(() => child.kill(), LONGEST_MS * random())
      const killed = (await child.ended) === 'SIGKILL'
      clearTimeout(timer)
      for (const to of child.said('stored')) stored.add(to)
      if (!killed) continue
      cutAt.push(Date.now())
      cutPower(disk, synced, SURVIVALS[cutAt.length % SURVIVALS.length] ?? 'nothing', random)
    }
    const last = await start({ ...plan, from: unconfirmed(), messages: LOAD, person: 'deliver' }, under)
    await last.ended
    for (const to of last.said('stored')) stored.add(to)
    const counts = await audit(plan.file, stored, server)
    const before = counts.unmarkedTo.map((to) => {
      const first = server.messages.find((message) => message.to.includes(to))?.at ?? 0
      return Math.min(...cutAt.map((at) => at - first).filter((ms) => ms >= 0))
    })
    const excused = onUncertain === 'retry' && before.every((ms) => ms <= LAST_MOMENTS_MS)
    // what was on its way in when the power went may have gone out; its caller, who heard nothing, sends a new message
    const wrong = counts.wrong.filter(
      (text) => !(excused && counts.unmarkedTo.some((to) => text === `${to}: its copies differ`)),
    )
    return {
      ...counts,
      wrong,
      unmarked: excused ? 0 : counts.unmarked,
      lastMoments: excused ? counts.unmarked : 0,
      earliestMs: Math.max(0, ...before),
      parked: last.said('parked').length,
      cuts: cutAt.length,
      how: under.how,
    }
  } finally {
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
