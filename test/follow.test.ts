// Over a pool, the envelope of a message goes out behind the final dot of the one before it, and nothing comes of that
// but time saved: whatever the server says or does, each message ends as it would have without.

import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type AttemptRequest, type AttemptResult, attempt } from '../src/attempt.ts'
import type { Clock } from '../src/clock.ts'
import type { Message } from '../src/core/message.ts'
import { manualClock } from '../src/testing.ts'
import { type InnerTransport, openTarget } from '../src/transporter.ts'
import { chance } from './chaos/fixtures/plan.ts'
import { MAJORS, type Nodemailer, silent } from './nodemailers.ts'

const { nodemailer } = MAJORS[3] as (typeof MAJORS)[number]

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one()
})

describe('what follows', () => {
  it('goes in one piece with the final dot before it, each body to its own recipients', async () => {
    const server = await serve()
    const { sendAll } = over(server)
    expect(await sendAll(6)).toEqual(Array(6).fill('250 queued'))
    expect(server.bodies.map(({ to, text }) => `${to} ${text}`)).toEqual(
      [0, 1, 2, 3, 4, 5].map((n) => `u${n}@there.test body ${n}`),
    )
    // the first two: nobody knew how soon a dot is answered
    expect(server.together).toEqual(['u2@there.test', 'u3@there.test', 'u4@there.test', 'u5@there.test'])
    expect(server.connections).toBe(1)
    expect(server.count('RSET')).toBe(0)
  })

  it.each(MAJORS.filter(({ major }) => major < 10))('stays behind with nodemailer $major', async (older) => {
    const server = await serve()
    const { sendAll } = over(server, {}, older.nodemailer)
    expect(await sendAll(6)).toEqual(Array(6).fill('250 queued'))
    expect(server.together).toEqual([])
  })

  it.each([
    ['the server offers no PIPELINING', { pipelining: false }, {}],
    ['the pool logs', {}, { logger: silent() }],
    ['the pool has a rate limit', {}, { rateLimit: 1000 }],
    ['each connection sends two messages', {}, { maxMessages: 2 }],
  ])('stays behind where %s', async (_, manner, options) => {
    const server = await serve(() => undefined, manner)
    const { sendAll } = over(server, options)
    expect(await sendAll(6)).toEqual(Array(6).fill('250 queued'))
    expect(server.together).toEqual([])
  })

  it('stays behind where a connection is free, or can be made', async () => {
    const server = await serve()
    const { start, sendAll } = over(server, { maxConnections: 2 })
    /** Comes to the pool while another is about to go. */
    const meanwhile = async () => {
      let second: Trying | undefined
      const first = start(0, {
        gate: () => {
          second = start(1)
        },
      })
      return [await first.result, await second?.result]
    }
    await sendAll(1)
    expect(server.connections).toBe(1)
    expect(await meanwhile()).toEqual(['250 queued', '250 queued'])
    expect(server.connections).toBe(2)
    expect(await meanwhile()).toEqual(['250 queued', '250 queued'])
    expect(server.together).toEqual([])
  })

  it('never passes the limit of messages that a connection sends', async () => {
    const server = await serve()
    const { sendAll } = over(server, { maxMessages: 4 })
    expect(await sendAll(10)).toEqual(Array(10).fill('250 queued'))
    expect(server.bodiesOn).toEqual([4, 4, 2])
    expect(server.together).toHaveLength(4)
  })

  it("lets the user's own mail keep its place", async () => {
    const server = await serve()
    const { transporter, start, sendAll } = over(server)
    await sendAll(1)
    const results = [start(1), start(2)]
    const own = transporter.sendMail({ from: 'me@here.test', to: 'own@there.test', text: 'body own' })
    results.push(start(3), start(4))
    await Promise.all([...results.map(({ result }) => result), own])
    expect(server.bodies.map(({ to }) => to.split('@')[0])).toEqual(['u0', 'u1', 'u2', 'own', 'u3', 'u4'])
    expect(server.together).toEqual(['u2@there.test', 'u4@there.test'])
  })
})

describe('whatever is said', () => {
  it('to the message before it, it goes on, and no RSET between them', async () => {
    const server = await serve(({ step, to }) =>
      step === 'dot' && to.startsWith('u2') ? '554 5.7.1 Spam' : undefined,
    )
    const { sendAll } = over(server)
    expect(await sendAll(4)).toEqual(['250 queued', '250 queued', '554 5.7.1 Spam', '250 queued'])
    expect(server.together).toEqual(['u2@there.test', 'u3@there.test'])
    expect(server.count('RSET')).toBe(0)
    expect(server.connections).toBe(1)
  })

  it.each([
    ['mail', '451 4.3.0 Busy'],
    ['rcpt', '550 5.1.1 Nobody'],
    ['data', '452 4.3.1 Full'],
  ] as const)('to it, in its %s, it is its own, and others go on', async (step, answer) => {
    const server = await serve((now) => (now.step === step && now.to.startsWith('u3') ? answer : undefined))
    const { sendAll } = over(server)
    const wanted = Array(6).fill('250 queued')
    wanted[3] = `${answer} (${step})`
    expect(await sendAll(6)).toEqual(wanted)
    expect(server.together).toContain('u3@there.test')
  })

  it('to it, one reply after another, is heard as a whole', async () => {
    const held = new Held()
    const server = await serve(held.at('rcpt', 'u3'))
    const { start } = over(server)
    const tries = [0, 1, 2, 3, 4].map((n) => start(n))
    await held.asked
    await tries[2]?.result
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    held.release('250 Ok')
    expect(await resultsOf(tries)).toEqual(Array(5).fill('250 queued'))
    expect(server.together).toHaveLength(3)
    expect(server.connections).toBe(1)
  })

  it('421 to the dot before it ends the connection, and it goes over another', async () => {
    const server = await serve(({ step, to }) =>
      step === 'dot' && to.startsWith('u2') ? '421 4.7.0 Later' : undefined,
    )
    const { sendAll } = over(server)
    expect(await sendAll(5)).toEqual([
      '250 queued',
      '250 queued',
      '421 4.7.0 Later',
      '250 queued',
      '250 queued',
    ])
    expect(server.connections).toBe(2)
  })

  it('421 to it is told', async () => {
    const server = await serve(({ step, to }) =>
      step === 'mail' && to.startsWith('u3') ? '421 4.7.0 Later' : undefined,
    )
    const { sendAll } = over(server)
    expect(await sendAll(5)).toEqual([...Array(3).fill('250 queued'), '421 4.7.0 Later (mail)', '250 queued'])
  })

  it('421 to it that comes with the answer to the dot, and the end, is told', async () => {
    const server = await serve(({ step, to }) => {
      if (step === 'dot' && to.startsWith('u2')) return '250 queued\r\n421 4.7.0 Enough\r\nend'
      return undefined
    })
    const { sendAll } = over(server)
    expect(await sendAll(5)).toEqual([
      ...Array(3).fill('250 queued'),
      '421 4.7.0 Enough (mail)',
      '250 queued',
    ])
  })

  it('more than was asked is no yes to its body: it goes over another, in the same try', async () => {
    const server = await serve(toSecond('250 queued\r\n250 and again'))
    const { sendAll } = over(server)
    expect(await sendAll(5)).toEqual(Array(5).fill('250 queued'))
    expect(server.bodies.map(({ to }) => to.slice(0, 2))).toEqual(['u0', 'u1', 'u2', 'u3', 'u4'])
    expect(server.connections).toBe(2)
    expect(server.together).toHaveLength(2)
  })

  it('a yes without waiting for the body does not count: it goes over another, in the same try', async () => {
    let left = 1
    const server = await serve(({ step, to }) =>
      step === 'data' && to.startsWith('u3') && left-- > 0 ? '250 Ok' : undefined,
    )
    const { sendAll } = over(server)
    expect(await sendAll(5)).toEqual(Array(5).fill('250 queued'))
    expect(server.connections).toBe(2)
    expect(server.together).toHaveLength(2)
  })

  it('a yes behind the one to DATA does not count', async () => {
    const server = await serve(({ step, to }) =>
      step === 'data' && to.startsWith('u0') ? '354 Go\r\n250 Early' : undefined,
    )
    const { sendAll } = over(server)
    const results = await sendAll(5)
    expect(results[0]).toMatch(/^EPROTOCOL(?!.*uncertain)/)
    expect(results.slice(1)).toEqual(Array(4).fill('250 queued'))
    expect(server.connections).toBe(2)
  })
})

describe('as if nothing had been said, where the connection ends', () => {
  it('after the answer to the dot: it goes over another in the same try, and for a minute nothing follows', async () => {
    const server = await serve(toSecond('250 queued\r\nend'))
    const clock = manualClock()
    const { sendAll, tries } = over(server, {}, nodemailer, clock)
    expect(await sendAll(5)).toEqual(Array(5).fill('250 queued'))
    expect(tries.map(({ resends }) => resends)).toEqual(Array(5).fill(0))
    expect(server.connections).toBe(2)
    expect(server.together).toEqual(['u2@there.test', 'u3@there.test'])
    await clock.advance(59_000)
    await sendAll(4)
    expect(server.together).toHaveLength(2)
    await clock.advance(1_000)
    await sendAll(4)
    expect(server.together).toHaveLength(5)
  })

  it('before the answer to the dot: it goes over another, and for a day nothing follows', async () => {
    const server = await serve(toSecond('end'))
    const clock = manualClock()
    const { sendAll } = over(server, {}, nodemailer, clock)
    const results = await sendAll(5)
    expect(results[2]).toMatch(/^ECONNECTION.* uncertain$/)
    expect(results.toSpliced(2, 1)).toEqual(Array(4).fill('250 queued'))
    expect(server.together).toHaveLength(2)
    await clock.advance(86_399_000)
    await sendAll(4)
    expect(server.together).toHaveLength(2)
    await clock.advance(1_000)
    await sendAll(4)
    expect(server.together).toHaveLength(5)
  })

  it.each([
    ['all', 'lose'],
    ['the first line', 'lose a line'],
    ['the last line', 'lose the end'],
  ])(
    'because the server has lost %s of it: five seconds later, and nothing follows for a day',
    async (_, answer) => {
      const server = await serve(toSecond(answer))
      const clock = manualClock()
      const { start, sendAll, tries: ended } = over(server, {}, nodemailer, clock)
      const tries = [0, 1, 2, 3, 4].map((n) => start(n))
      await tries[2]?.result
      await clock.advance(6_000)
      expect(await resultsOf(tries)).toEqual(Array(5).fill('250 queued'))
      expect(ended.map(({ resends }) => resends)).toEqual(Array(5).fill(0))
      expect(server.connections).toBe(2)
      await clock.advance(61_000)
      await sendAll(4)
      expect(server.together).toHaveLength(2)
    },
  )

  it.each([
    ['has lost its first octets', 'lose octets'],
    [
      'wants another greeting',
      '250 queued\r\n503 5.5.1 Hello?\r\n503 5.5.1 No sender\r\n503 5.5.1 No recipient\r\nhush',
    ],
  ])('because the server %s: at once, and nothing follows for a day', async (_, answer) => {
    const server = await serve(toSecond(answer))
    const clock = manualClock()
    const { sendAll } = over(server, {}, nodemailer, clock)
    expect(await sendAll(5)).toEqual(Array(5).fill('250 queued'))
    expect(server.connections).toBe(2)
    await clock.advance(61_000)
    await sendAll(4)
    expect(server.together).toHaveLength(2)
    await clock.advance(86_400_000)
    await sendAll(4)
    expect(server.together.length).toBeGreaterThan(2)
  })

  it('after the answer to the dot, again and again: for twice as long each time, until all is well for a while', async () => {
    let ends = true
    const server = await serve(({ step, to }) =>
      ends && step === 'dot' && to.startsWith('u2') ? '250 queued\r\nend' : undefined,
    )
    const clock = manualClock()
    const { sendAll } = over(server, { maxMessages: 1_000 }, nodemailer, clock)
    const count = async () => {
      const { length } = server.together
      await sendAll(5)
      return server.together.length - length
    }
    for (const minutes of [1, 2, 4]) {
      expect(await count()).toBeGreaterThan(0)
      await clock.advance(minutes * 60_000 - 1)
      ends = false
      expect(await count()).toBe(0)
      ends = true
      await clock.advance(1)
    }
    ends = false
    await sendAll(110)
    ends = true
    expect(await count()).toBeGreaterThan(0)
    await clock.advance(60_000)
    ends = false
    expect(await count()).toBeGreaterThan(0)
  })

  it('by ourselves: nothing follows for a minute', async () => {
    const held = new Held()
    let slow = true
    const server = await serve(({ step, to }) =>
      step === 'dot' && to.startsWith('u2') && slow ? held.answer : undefined,
    )
    const clock = manualClock()
    const { start, sendAll } = over(server, {}, nodemailer, clock)
    const tries = [0, 1, 2, 3, 4].map((n) => start(n))
    await held.asked
    tries[2]?.abort()
    slow = false
    const results = await resultsOf(tries)
    expect(results[2]).toMatch(/^EABORT.* uncertain$/)
    expect(results.toSpliced(2, 1)).toEqual(Array(4).fill('250 queued'))
    await clock.advance(59_000)
    await sendAll(4)
    expect(server.together).toHaveLength(2)
    await clock.advance(1_000)
    await sendAll(4)
    expect(server.together).toHaveLength(5)
  })

  it('after the answer to a message of which not all recipients were taken: nothing follows for a minute', async () => {
    let left = 1
    const server = await serve(({ step, to }) => {
      if (step === 'rcpt' && to.startsWith('no')) return '550 5.1.1 Nobody'
      return step === 'dot' && to.startsWith('yes') && left-- > 0 ? '250 queued\r\nend' : undefined
    })
    const clock = manualClock()
    const { start, sendAll } = over(server, {}, nodemailer, clock)
    const recipients = ['no@there.test', 'yes@there.test']
    const tries = [0, 1, 2, 3, 4].map((n) => start(n, n === 2 ? { recipients } : {}))
    const results = await resultsOf(tries)
    expect(results.toSpliced(2, 1)).toEqual(Array(4).fill('250 queued'))
    expect(server.together).toEqual(['u3@there.test'])
    await clock.advance(60_000)
    await sendAll(4)
    expect(server.together.length).toBeGreaterThan(2)
  })

  it('since its pool is closed, it is told so', async () => {
    const held = new Held()
    const server = await serve(held.at('dot', 'u2'))
    const { start, transporter } = over(server)
    const tries = [0, 1, 2, 3, 4].map((n) => start(n))
    await held.asked
    transporter.close()
    held.release('250 queued')
    const results = await resultsOf(tries)
    expect(results.slice(0, 3)).toEqual(Array(3).fill('250 queued'))
    for (const result of results.slice(3)) expect(result).not.toMatch(/^250|uncertain/)
    expect(server.bodies).toHaveLength(3)
    expect(transporter.transporter.pendingCount()).toBe(0)
  })
})

describe('who follows', () => {
  it('a dot that is not answered goes another way after a second', async () => {
    const held = new Held()
    let slow = false
    const server = await serve(({ step, to }) => {
      if (step !== 'dot' || !slow) return undefined
      slow = false
      held.to = to
      return held.answer
    })
    const clock = manualClock()
    const { start, sendAll } = over(server, { maxConnections: 2 }, nodemailer, clock)
    await sendAll(8)
    slow = true
    const tries = [0, 1, 2, 3, 4, 5].map((n) => start(n))
    await held.asked
    // all but the one whose dot is not answered, and who follows
    await new Promise<void>((resolve) => {
      let left = 4
      for (const { result } of tries) void result.then(() => --left === 0 && resolve())
    })
    await clock.advance(1_100)
    await Promise.all(tries.filter(({ to }) => to !== held.to).map(({ result }) => result))
    held.release('250 queued')
    expect(await resultsOf(tries)).toEqual(Array(6).fill('250 queued'))
    expect(server.bodies).toHaveLength(14)
    const { length } = server.together
    await clock.advance(58_000)
    await sendAll(8)
    expect(server.together).toHaveLength(length)
  })

  it('several dots that are not answered counts as one trouble', async () => {
    const held = new Held()
    let slow = 0
    const server = await serve(({ step }) => (step === 'dot' && slow-- > 0 ? held.answer : undefined))
    const clock = manualClock()
    const { start, sendAll } = over(server, { maxConnections: 3 }, nodemailer, clock)
    await sendAll(12)
    const { length } = server.together
    slow = 3
    const tries = Array.from({ length: 9 }, (_, n) => start(n))
    while (server.together.length < length + 3) await new Promise(setImmediate)
    await clock.advance(1_100)
    held.release('250 queued')
    expect(await resultsOf(tries)).toEqual(Array(9).fill('250 queued'))
    const before = server.together.length
    await clock.advance(58_000)
    await sendAll(12)
    expect(server.together).toHaveLength(before)
    await clock.advance(2_000)
    await sendAll(12)
    await sendAll(12)
    expect(server.together.length).toBeGreaterThan(before)
  })

  it('stays behind where a dot takes a quarter of a second', async () => {
    const clock = manualClock()
    const server = await serve(async ({ step }) => {
      if (step === 'dot') await clock.advance(250)
      return undefined
    })
    const { sendAll } = over(server, {}, nodemailer, clock)
    expect(await sendAll(5)).toEqual(Array(5).fill('250 queued'))
    expect(server.together).toEqual([])
  })

  it.each([true, false])(
    'and is given up leaves no body behind (by a signal of the pool: %s)',
    async (abortable) => {
      const held = new Held()
      const server = await serve(held.at('dot', 'u2'))
      const { start, transporter } = over(server, {}, nodemailer, manualClock(), abortable)
      const tries = [0, 1, 2, 3, 4, 5].map((n) => start(n))
      await held.asked
      // and one that waits in the queue
      for (const one of tries.slice(3, 5)) {
        one.abort()
        expect(await one.result).toMatch(/^EABORT(?!.*uncertain)/)
      }
      held.release('250 queued')
      const results = await resultsOf(tries)
      expect(results.toSpliced(3, 2)).toEqual(Array(4).fill('250 queued'))
      expect(server.bodies.map(({ to }) => to.slice(0, 2))).toEqual(['u0', 'u1', 'u2', 'u5'])
      expect(transporter.transporter.pendingCount()).toBe(0)
    },
  )

  it('and is given up between the answer to the dot and its own leaves no body behind', async () => {
    const held = new Held()
    const server = await serve(held.at('mail', 'u3'))
    const clock = manualClock()
    const { start, sendAll } = over(server, {}, nodemailer, clock)
    const tries = [0, 1, 2, 3, 4].map((n) => start(n))
    await held.asked
    await tries[2]?.result
    await new Promise(setImmediate) // the connection is free
    await new Promise(setImmediate)
    await clock.advance(1_000)
    tries[3]?.abort()
    expect((await tries[3]?.whole)?.outcomes).toMatchObject([
      { uncertain: false, reply: { errno: 'EABORT', phase: 'mail' } },
    ])
    const results = await resultsOf(tries)
    expect(results.toSpliced(3, 1)).toEqual(Array(4).fill('250 queued'))
    expect(server.bodies.map(({ to }) => to.slice(0, 2))).toEqual(['u0', 'u1', 'u2', 'u4'])
    // and who waited so long has told something of the server
    const { length } = server.together
    await sendAll(3)
    expect(server.together).toHaveLength(length)
  })

  it('and whose gate refuses ends its connection, and nobody else', async () => {
    const server = await serve()
    const { start } = over(server)
    const refuse = () => {
      throw new Error('not any more')
    }
    const tries = [0, 1, 2, 3, 4].map((n) => start(n, n === 3 ? { gate: refuse } : {}))
    const results = await resultsOf(tries)
    expect(results[3]).toMatch(/^EABORT(?!.*uncertain)/)
    expect(results.toSpliced(3, 1)).toEqual(Array(4).fill('250 queued'))
    expect(server.bodies.map(({ to }) => to.slice(0, 2))).toEqual(['u0', 'u1', 'u2', 'u4'])
  })

  it('and may not begin any more is given back, and nothing is said of it', async () => {
    const server = await serve()
    const { start, tries } = over(server)
    const all = [0, 1, 2, 3, 4].map((n) => start(n, { mayBegin: () => n < 2 || n > 3 }))
    const results = await Promise.all(all.map(({ result }) => result))
    expect(results[2]).toMatch(/^EABORT/)
    expect(results[3]).toMatch(/^EABORT/)
    expect(tries.filter(({ gated }) => gated)).toHaveLength(2)
    expect(server.bodies.map(({ to }) => to.slice(0, 2))).toEqual(['u0', 'u1', 'u4'])
    expect([server.count('MAIL'), server.count('RSET'), server.connections]).toEqual([3, 0, 1])
  })
})

describe('ten messages over two connections, whatever is refused', () => {
  it.each([1, 2, 3])('end as they do without: seed %i', async (seed) => {
    let together = 0
    await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const quick = await play(100 * seed + n, {})
        const plain = await play(100 * seed + n, { logger: silent() })
        expect(quick.results).toEqual(plain.results)
        expect(quick.bodies).toEqual(plain.bodies)
        expect(plain.together).toBe(0)
        together += quick.together
      }),
    )
    expect(together).toBeGreaterThan(0)
  })
})

/** Said to the first final dot of `u2`. */
function toSecond(answer: string) {
  let left = 1
  return ({ step, to }: Asked) => (step === 'dot' && to.startsWith('u2') && left-- > 0 ? answer : undefined)
}

const REFUSALS = [
  ...['421 4.7.0 Try again later', '450 4.2.0 Greylisted', '451 4.3.0 Busy', '452 4.2.2 Full'],
  ...['550 5.1.1 No such user', '554 5.7.1 Spam', '550-5.7.1 Line one\r\n550 5.7.1 Line two'],
]

/** What is said of each message is drawn for it, whichever connection it goes over. */
async function play(seed: number, options: object) {
  const random = chance(seed)
  const script = Array.from({ length: 10 }, () => ({
    step: (['mail', 'rcpt', 'data', 'dot', '', ''] as const)[Math.floor(random() * 6)],
    answer: REFUSALS[Math.floor(random() * REFUSALS.length)],
  }))
  const server = await serve(({ step, to }) => {
    const { step: at, answer } = script[Number(to.slice(1, 2))] ?? {}
    return step === at ? answer : undefined
  })
  const { sendAll } = over(server, { maxConnections: 2, ...options })
  const results = await sendAll(10)
  return { results, bodies: server.bodies.map(({ to }) => to).sort(), together: server.together.length }
}

interface Asked {
  readonly step: 'mail' | 'rcpt' | 'data' | 'dot'
  /** Of the message that this is of. */
  readonly to: string
}

/** An answer that waits. */
class Held {
  to = ''
  release: (answer: string) => void = () => {}
  #ask: () => void = () => {}
  readonly asked = new Promise<void>((resolve) => {
    this.#ask = resolve
  })
  readonly #answer = new Promise<string>((resolve) => {
    this.release = resolve
  })

  get answer(): Promise<string> {
    this.#ask()
    return this.#answer
  }

  /** To this step of this message. */
  at(step: Asked['step'], to: string) {
    return (asked: Asked) => (asked.step === step && asked.to.startsWith(to) ? this.answer : undefined)
  }
}

/** What is left of what has come. */
const LOSSES: Readonly<Record<string, (pending: string) => string>> = {
  lose: () => '',
  'lose a line': (pending) => pending.slice(pending.indexOf('\r\n') + 2),
  'lose the end': (pending) => pending.replace(/DATA\r\n$/, ''),
  'lose octets': (pending) => pending.slice(5),
}

/**
 * A server that says yes, unless `script` says otherwise: a reply; `end` behind it ends the connection, `hush` forgets
 * what has come so far; or a loss, which says yes.
 */
async function serve(
  script: (asked: Asked) => string | undefined | Promise<string | undefined> = () => undefined,
  { pipelining = true } = {},
) {
  const bodies: { readonly to: string; readonly text: string }[] = []
  const together: string[] = []
  const commands: string[] = []
  const bodiesOn: number[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const at = bodiesOn.push(0) - 1
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
    socket.setNoDelay(true)
    socket.write('220 here\r\n')
    let pending = ''
    let inBody = false
    let to = ''
    let isBusy = false
    /** Gives the next command or body. */
    const next = (): string | undefined => {
      const end = pending.indexOf(inBody ? '\r\n.\r\n' : '\r\n')
      if (end < 0) return undefined
      const said = pending.slice(0, end)
      pending = pending.slice(end + (inBody ? 5 : 2))
      return said
    }
    const say = (text: string): void => {
      const ends = text.endsWith('end')
      const reply = ends ? text.slice(0, -3) : `${text}\r\n`
      if (ends) socket.end(reply)
      else socket.write(reply)
    }
    const answer = async (step: Asked['step'], yes: string): Promise<boolean> => {
      const given = (await script({ step, to })) ?? yes
      const lost = LOSSES[given]
      if (lost) pending = lost(pending)
      // what is said already is not said again
      if (given.endsWith('hush')) pending = ''
      say(lost ? yes : given.replace('\r\nhush', ''))
      return given === yes || lost !== undefined
    }
    const hear = async (): Promise<void> => {
      if (isBusy) return
      isBusy = true
      for (let said = next(); said !== undefined && socket.writable; said = next()) {
        if (inBody) {
          inBody = false
          bodies.push({ to, text: said.split('\r\n').at(-1) ?? '' })
          bodiesOn[at] = (bodiesOn[at] ?? 0) + 1
          hasSender = false
          refused = true
          await answer('dot', '250 queued')
          continue
        }
        commands.push(said.slice(0, 4))
        if (said.startsWith('EHLO')) say(pipelining ? '250-here\r\n250 PIPELINING' : '250 here')
        else if (said.startsWith('MAIL')) {
          // whose it is, is said next
          to = /^RCPT TO:<(.*?)>/.exec(pending)?.[1] ?? 'unknown'
          hasSender = await answer('mail', '250 Ok')
          refused = true
        } else if (said.startsWith('RCPT')) {
          to = /<(.*)>/.exec(said)?.[1] ?? ''
          if (!hasSender) say('503 5.5.1 No sender')
          else if (await answer('rcpt', '250 Ok')) refused = false
        } else if (said === 'DATA') {
          if (refused) say('503 5.5.1 No recipient')
          else inBody = await answer('data', '354 Go')
        } else say(/^(RSET|QUIT)/.test(said) ? '250 Ok' : '500 5.5.2 What?')
      }
      isBusy = false
    }
    let hasSender = false
    let refused = true
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      const found = /\r\n\.\r\nMAIL FROM:<.*?>\r\nRCPT TO:<(.*?)>\r\nDATA\r\n$/.exec(text)?.[1]
      if (found !== undefined) together.push(found)
      pending += text
      void hear()
    })
  })
  undo.push(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  return {
    port,
    bodies,
    bodiesOn,
    /** Recipients of the envelopes that came with the final dot of another. */
    together,
    count: (command: string) => commands.filter((one) => one === command).length,
    get connections() {
      return bodiesOn.length
    },
  }
}

interface Trying {
  readonly to: string
  readonly result: Promise<string>
  readonly whole: Promise<AttemptResult>
  abort(): void
}

function over(
  { port }: { readonly port: number },
  options: object = {},
  by: Nodemailer = nodemailer,
  clock: Clock = manualClock(),
  abortable = true,
) {
  const transporter = by.createTransport({
    ...{ host: '127.0.0.1', port, pool: true, maxConnections: 1, maxRequeues: 0, ignoreTLS: true },
    ...options,
  })
  const target = openTarget(transporter)
  undo.push(async () => {
    await target.close()
    transporter.close()
  })
  const tries: AttemptResult[] = []
  const start = (n: number, more: Partial<AttemptRequest> = {}): Trying => {
    const to = `u${n}@there.test`
    const controller = new AbortController()
    const result = attempt(
      abortable ? target : { ...target, abortable },
      {
        ...{ message: messageOf(n), recipients: [to], timeoutMs: 3_600_000, gate: () => {} },
        bytes: Buffer.from(`Subject: ${n}\r\nMessage-ID: <${n}@here.test>\r\n\r\nbody ${n}`),
        signal: controller.signal,
        ...more,
      },
      clock,
    )
    const told = result.then((given) => {
      tries.push(given)
      return toText(given)
    })
    return { to, result: told, whole: result, abort: () => controller.abort() }
  }
  const sendAll = (count: number) => Promise.all(Array.from({ length: count }, (_, n) => start(n).result))
  return {
    transporter: transporter as typeof transporter & {
      transporter: InnerTransport & { pendingCount(): number }
    },
    target,
    tries,
    start,
    sendAll,
  }
}

function resultsOf(tries: readonly Trying[]): Promise<string[]> {
  return Promise.all(tries.map(({ result }) => result))
}

function toText({ outcomes }: AttemptResult): string {
  const [outcome] = outcomes
  if (!outcome) return 'nothing'
  const { reply } = outcome
  const uncertain = !outcome.accepted && outcome.uncertain
  const phase = reply.phase === 'dot' || reply.code === undefined ? '' : ` (${reply.phase})`
  return `${reply.errno ?? ''}${reply.errno ? ' ' : ''}${reply.text}${phase}${uncertain ? ' uncertain' : ''}`
}

const messageOf = (n: number): Message => ({
  id: `m${n}`,
  messageId: `<${n}@here.test>`,
  from: 'me@here.test',
  fromDomain: 'here.test',
  size: 100,
  priority: 1,
  createdAt: 0,
  expiresAt: 1,
  recipients: 1,
  wire: {},
})
