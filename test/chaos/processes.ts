// Several processes on one file: a message that kills each of them, a process that is paused and wakes up behind
// its successor, take-over after a kill and after a clean stop, and a rolling deploy.

import type { SmtpEvent } from 'steadymail/testing'
import type { Counts } from './fixtures/audit.ts'
import type { Child } from './fixtures/child.ts'
import { addressOf, type ChaosPlan } from './fixtures/plan.ts'
import { on, taken } from './fixtures/stage.ts'

export interface Poison extends Counts {
  /** Processes that it killed. */
  readonly deaths: number
}

/**
 * One message kills whoever sends it; 40 others are there.
 * @param connections with three messages ahead on each: as many may be in the air with the one that kills. Where time is
 * that fast a try takes seconds of it, and on a busy machine one of many may be tried with the killer three times.
 */
export async function poison(connections = 5): Promise<Poison> {
  let deaths = 0
  const counts = await on(
    { factor: 250, stretch: 250, name: 'the only one', messages: 41, connections },
    async (stage) => {
      let child: Child | undefined
      stage.server.use((event: SmtpEvent) => {
        if (event.phase !== 'rcpt' || event.to !== addressOf(3)) return undefined
        child?.kill()
        return 'hang'
      })
      for (;;) {
        child = await stage.start()
        if ((await child.ended) !== 'SIGKILL') return
        if (++deaths > 20) throw new Error('it goes on killing')
      }
    },
  )
  return { ...counts, deaths }
}

/** Where a process is stopped, with what the server is doing then. */
export const PAUSES = [
  { name: 'between messages', at: undefined, size: 200 },
  { name: 'at MAIL', at: { phase: 'mail', size: 0 }, size: 200 },
  { name: 'at DATA', at: { phase: 'data', size: 0 }, size: 200 },
  { name: 'in the body', at: { phase: 'body', size: 100_000 }, size: 16_000_000 },
] as const

/** A process is stopped; another takes over and sends everything; then the first wakes up. */
export async function paused(pause: (typeof PAUSES)[number]): Promise<Counts> {
  const messages = pause.at === undefined ? 200 : 6
  return on({ connections: pause.at === undefined ? 5 : 1 }, async ({ server, start }) => {
    const first = await start({ messages, size: pause.size, serve: true })
    let stopped: () => void = () => undefined
    const stop = new Promise<void>((resolve) => {
      stopped = resolve
    })
    let done = false
    server.use((event): Promise<undefined> | undefined => {
      if (done || pause.at === undefined || event.phase !== pause.at.phase || event.size < pause.at.size)
        return undefined
      done = true
      first.kill('SIGUSR2')
      stopped()
      if (event.phase === 'body') return undefined // what is not read here is not written there
      // answered when it sleeps
      return new Promise((resolve) => setTimeout(() => resolve(undefined), 100))
    })
    if (pause.at === undefined) {
      await first.hears('handed-over')
      await taken(server, 20)
      first.kill('SIGUSR2')
      if (server.messages.length === messages) throw new Error('stopped after everything was sent')
    } else await stop
    const second = await start({ serve: true })
    await second.hears('owner')
    // all that the first has not finished is the second's now
    const third = await start({ deliver: false, from: 1_000, messages: 5 })
    await third.ended
    first.kill('SIGCONT')
    await first.hears('owner', 2)
    first.kill('SIGTERM')
    await first.ended
    second.kill('SIGTERM')
    await second.ended
    const last = await start()
    await last.ended
  })
}

export interface TakeOver extends Counts {
  /** From the kill or the stop to the successor's first message, in ms of the machine. */
  readonly ms: number
}

/** One delivers, one waits, one only hands over; the first is killed or stopped. At the clock's own pace. */
export async function takeOver(
  signal: 'SIGKILL' | 'SIGTERM',
  plan: Partial<ChaosPlan> = {},
): Promise<TakeOver> {
  let ms = 0
  const counts = await on({ factor: 1, stretch: 1, ...plan }, async ({ server, start }) => {
    const first = await start({ messages: 20, serve: true })
    await first.hears('handed-over')
    await taken(server, 20)
    const second = await start({ serve: true })
    await second.hears('open')
    const desk = await start({ deliver: false, from: 20, messages: 20 })
    await taken(server, 40)
    await desk.ended
    const killedAt = performance.now()
    first.kill(signal)
    const late = await start({ deliver: false, from: 40, messages: 20 })
    await taken(server, 41)
    ms = performance.now() - killedAt
    await late.ended
    second.kill('SIGTERM')
  })
  return { ...counts, ms: Math.round(ms) }
}

/** Six generations of two processes each, every one stopped as the next has started, all under load. */
export async function rolling(): Promise<Counts> {
  return on({ atOnce: 5 }, async ({ start }) => {
    let before: Child[] = []
    for (let generation = 0; generation < 6; generation++) {
      const now = await Promise.all(
        [0, 1].map((one) => start({ from: 1_000 * (2 * generation + one), messages: 60, serve: true })),
      )
      await Promise.all(now.map((child) => child.hears('stored', 20)))
      for (const child of before) child.kill('SIGTERM')
      await Promise.all(before.map((child) => child.ended))
      before = now
    }
    await Promise.all(before.map((child) => child.hears('handed-over')))
    for (const child of before) child.kill('SIGTERM')
    await Promise.all(before.map((child) => child.ended))
    const last = await start()
    await last.ended
  })
}

/** Three processes hand over the same messages under the same keys at once; one of them is killed and does it again. */
export async function sameKeys(): Promise<Counts> {
  const messages = 60
  return on({ messages, atOnce: 20 }, async ({ start }) => {
    const first = await start({ serve: true })
    const desks = await Promise.all([0, 1].map(() => start({ deliver: false })))
    const [victim] = desks
    await victim?.hears('stored', 5)
    victim?.kill()
    const again = await start({ deliver: false })
    await Promise.all([...desks, again].map((desk) => desk.ended))
    await first.hears('handed-over')
    first.kill('SIGTERM')
    await first.ended
    await (await start()).ended
  })
}
