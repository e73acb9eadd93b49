// What a lane goes through at three kinds of receiver, over real sockets, told as a person would read it: held by which
// reply until when, probed, slowly open, adapted. Each trace is printed, and its shape is held.

import type { SmtpScript } from 'steadymail/testing'
import { maxConnections, rateLimit } from 'steadymail/testing'
import { expect, it } from 'vitest'
import { BEGIN, HOUR, MINUTE, type World, world } from './world.ts'

const clockTime = (at: number) => new Date(at).toISOString().slice(11, 19)
const perHour = (rate: number) => `${Number((rate * 3_600).toPrecision(3))}/h`

interface Traced extends World {
  /** One line for each thing that happened to a lane, in order. */
  readonly trace: string[]
  /** With what was accepted since the last line. */
  whole(): readonly string[]
}

async function traced(script: SmtpScript, name: string): Promise<Traced> {
  const w = await world({ route: 'direct', smtp: { script } })
  const trace: string[] = []
  let sent = 0
  const tell = (at: number, text: string) => {
    if (sent > 0) trace.push(`          ${sent} accepted`)
    sent = 0
    trace.push(`${clockTime(at)}  ${text}`)
  }
  const here = (lane: string) => lane === name
  w.mailer.on('accepted', () => sent++)
  w.mailer.on('held', (e) => {
    if (here(e.lane))
      tell(e.at, `held until ${clockTime(e.until)}, level ${e.level}, by ${e.rule}: ${e.reply}`)
  })
  w.mailer.on('probing', (e) => here(e.lane) && tell(e.at, 'probing'))
  w.mailer.on('recovering', (e) => here(e.lane) && tell(e.at, 'slow start'))
  w.mailer.on('opened', (e) => here(e.lane) && tell(e.at, 'open'))
  w.mailer.on('adapted', (e) => {
    const show = e.what === 'rate' ? perHour : String
    if (here(e.lane)) tell(e.at, `${e.what} ${show(e.from)} → ${show(e.to)}`)
  })
  w.mailer.on('trouble', (e) => tell(e.at, `trouble: ${e.pattern}`))
  const rest = () => {
    if (sent > 0) trace.push(`          ${sent} accepted`)
    return trace
  }
  return { ...w, trace, whole: rest }
}

async function backlog(w: Traced, count: number, domain: string): Promise<void> {
  const outcomes = await w.deliver(...Array.from({ length: count }, (_, i) => `user${i}@${domain}`))
  console.log(
    [
      `${domain}: ${count} messages in ${Math.round((w.clock.now() - BEGIN) / MINUTE)} min`,
      ...w.whole(),
    ].join('\n'),
  )
  expect(outcomes.filter((o) => o.status !== 'accepted')).toEqual([])
  expect(w.server.messages).toHaveLength(count)
}

/** What happened, without moments and numbers. */
const kinds = (w: Traced) =>
  w.trace.map((line) => line.slice(10).trim().split(/[ ,:]/)[0]).filter((kind) => kind !== undefined)

/** Every hold is followed by a probe, every probe by a hold or by slow start. */
function isOrderly(w: Traced): void {
  const steps = kinds(w).filter((kind) => ['held', 'probing', 'slow', 'open'].includes(kind))
  const after: Record<string, readonly string[]> = {
    held: ['probing'],
    probing: ['held', 'slow'],
    slow: ['held', 'open'],
    open: ['held'],
  }
  expect(steps[0]).toBe('held')
  steps.slice(1).forEach((step, i) => {
    const before = steps[i] ?? ''
    expect(after[before], `${before}, then ${step}`).toContain(step)
  })
}

it('GMX, which counts retries: held by its own words, probed two hours later, never hammered', async () => {
  const reply =
    '421 gmx.net (mxgmx115) Nemesis ESMTP Service not available Service unavailable Reject due to policy restrictions Too many messages have been received in a short period of time.'
  const w = await traced([rateLimit({ rate: '30/h', countsRetries: true, on: 'rcpt', reply })], 'gmx')
  await backlog(w, 80, 'gmx.de')
  isOrderly(w)
  expect(w.trace.find((line) => line.includes('held'))).toMatch(
    /^00:00:\d\d {2}held until 0[12]:\d\d:\d\d, level 1, by gmx-too-many: 421 gmx\.net .* short period of time\.$/,
  )
  expect(kinds(w)).toContain('rate')
  expect(w.asked('rcpt'), 'few are refused').toBeLessThan(80 * 1.5)
  expect(w.clock.now() - BEGIN).toBeLessThan(24 * HOUR)
})

it('Yahoo with [TSS04]: held for hours, longer when the probe is refused, then slowly open', async () => {
  const reply =
    '421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes'
  let refusals = 0
  const w = await traced(
    [
      (event) =>
        event.phase === 'mail' && event.at - BEGIN < 3 * HOUR && ++refusals > 0 ? reply : undefined,
    ],
    'yahoo',
  )
  await backlog(w, 40, 'yahoo.com')
  isOrderly(w)
  const steps = kinds(w).filter((kind) => ['held', 'probing', 'slow', 'open'].includes(kind))
  expect(steps.slice(0, 5)).toEqual(['held', 'probing', 'held', 'probing', 'slow'])
  const holds = w.trace.filter((line) => line.includes('held until'))
  expect(holds[0]).toContain('level 1, by yahoo-tss04: 421 4.7.0 [TSS04]')
  expect(holds[1]).toContain('level 2')
  // those under way at the first reply, and one probe
  expect(refusals).toBeLessThanOrEqual(10 + 1)
})

it('a receiver that takes three connections: concurrency is cut, the rate is not', async () => {
  const w = await traced(
    [maxConnections(3, '421 4.7.0 mx.test Too many concurrent connections from your address')],
    'few.test',
  )
  await backlog(w, 60, 'few.test')
  isOrderly(w)
  expect(w.trace.find((line) => line.includes('concurrency'))).toMatch(/concurrency 10 → [1-5](\.\d+)?$/)
  expect(kinds(w)).not.toContain('rate')
  expect(w.clock.now() - BEGIN).toBeLessThan(HOUR)
})
