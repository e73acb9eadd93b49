// A backlog of outcomes that a process left behind, given to onSettled by the next one. Some are never taken.

import { wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { manualClock, sampleMessage } from 'steadymail/testing'

const ADDED_AT_ONCE = 500
const REJECTED_EVERY = 250
const quiet = () => undefined

export interface Backlog {
  /** Outcomes that nobody acknowledged at the end. */
  readonly left: number
  readonly calls: number
  /** Messages whose outcome the handler always rejects. */
  readonly rejected: number
  /** Calls for all other messages. */
  readonly otherCalls: number
  readonly ms: number
}

export async function backlog(file: string, messages: number): Promise<Backlog> {
  const store = sqliteStore(file)
  await store.open()
  const clock = manualClock()
  const bad = new Set<string>()
  for (let n = 0; n < messages; n += ADDED_AT_ONCE) {
    await Promise.all(
      Array.from({ length: Math.min(ADDED_AT_ONCE, messages - n) }, async (_, i) => {
        const added = sampleMessage([`user${n + i}@x.test`])
        const { id } = added.message
        if ((n + i) % REJECTED_EVERY === 0) bad.add(id)
        await store.add(added, undefined, 0)
        await store.amend(
          id,
          ({ deliveries }) =>
            deliveries.map((d) => ({ ...d, state: 'accepted', settledAt: clock.now() }) as const),
          clock.now(),
          0,
          true,
        )
      }),
    )
  }
  let calls = 0
  let otherCalls = 0
  const began = performance.now()
  const mailer = wrapTransport('smtp://127.0.0.1:9', {
    store,
    clock,
    logger: { debug: quiet, info: quiet, warn: quiet, error: quiet }, // what is rejected is counted, not printed
    onSettled: ({ id }) => {
      calls++
      if (bad.has(id)) throw new Error('no such order')
      otherCalls++
    },
  })
  await mailer.start()
  await clock.runUntil(mailer.idle())
  const ms = performance.now() - began
  await clock.runUntil(mailer.close())
  const left = (await store.outcomes(messages)).length
  await store.close()
  return { left, calls, rejected: bad.size, otherCalls, ms }
}
