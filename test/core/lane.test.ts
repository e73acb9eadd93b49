import { describe, expect, it } from 'vitest'
import {
  clampLane,
  depart,
  holdLane,
  isQuiet,
  isWorthSaving,
  loadLane,
  opening,
  openLane,
  releaseLane,
  saveLane,
  speaksOfMessage,
} from '../../src/core/lane.ts'
import type { LaneLimits } from '../../src/core/limits.ts'
import {
  DAY,
  Driven,
  HOUR,
  IDLE,
  MINUTE,
  NO_SUCH_USER,
  noReason,
  OK,
  perMinute,
  SECOND,
  slowDown,
  tooManyConnections,
  verdict,
} from './driven-lane.ts'

describe('an open lane', () => {
  it('goes at once, and says when the next token comes and that it waits for one', () => {
    const lane = new Driven(perMinute(20))
    expect(lane.opening()).toEqual({ at: 0, room: 1, probe: false })
    lane.send(OK)
    expect(lane.opening()).toEqual({ at: 3_000, room: 1, probe: false, bound: 'token' })
  })

  it('has room for its burst', () => {
    expect(new Driven(perMinute(60, { burst: 5 })).opening().room).toBe(5)
  })

  it('waits for an arrival when as many attempts are under way as it may have', () => {
    const lane = new Driven(perMinute(20))
    expect(lane.opening(1, { inFlight: 4, probing: false })).toMatchObject({
      at: Infinity,
      bound: 'concurrency',
    })
  })

  it('without a rate goes as long as caps allow', () => {
    const lane = new Driven({ burst: 50, concurrency: 4, caps: [{ count: 3, perMs: HOUR, text: '3/h' }] })
    for (let i = 0; i < 3; i += 1) expect(lane.send(OK).bound).toBeUndefined()
    expect(lane.opening()).toMatchObject({ at: HOUR + HOUR / 24, bound: 'cap' })
  })

  it('lets one go every two days under a cap of half a message a day', () => {
    const lane = new Driven({ burst: 1, concurrency: 4, caps: [{ count: 0.5, perMs: DAY, text: '0.5/d' }] })
    lane.send(OK)
    expect(lane.opening()).toMatchObject({ at: 2 * DAY + (2 * DAY) / 24, bound: 'cap' })
  })

  it('keeps a tenth of a daily cap for high priority', () => {
    const lane = new Driven({ burst: 50, concurrency: 4, caps: [{ count: 10, perMs: DAY, text: '10/d' }] })
    for (let i = 0; i < 9; i += 1) lane.send(OK)
    expect(lane.opening(1).bound).toBe('reserve')
    expect(lane.opening(0)).toMatchObject({ at: lane.now, room: 1 })
    lane.send(OK, { priority: 0 })
    expect(lane.opening(0).bound).toBe('cap')
  })

  it('waits for the next day of its warm-up, with a tenth of each stage for high priority', () => {
    const lane = new Driven({ burst: 50, concurrency: 4, caps: [], warmup: { startAt: 0, daily: [10, 20] } })
    expect(lane.opening(1).room).toBe(9)
    for (let i = 0; i < 9; i += 1) lane.send(OK)
    expect(lane.opening(1)).toMatchObject({ at: DAY, bound: 'reserve' })
    expect(lane.opening(0).room).toBe(1)
    lane.now = DAY
    expect(lane.opening(0).room).toBe(20)
    expect(lane.view().warmup).toEqual({ stage: 1, allowed: 20, sent: 0, delivered: 0 })
  })

  it('gets back what an attempt took that never came to speak', () => {
    const lane = new Driven(perMinute(20))
    lane.send({ kind: 'returned' })
    expect(lane.opening().at).toBe(lane.now)
  })
})

describe('a throttled lane', () => {
  it('is held by one 421, with the reply and the rule to show for it', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown())
    expect(lane.opening()).toMatchObject({ at: 5 * MINUTE + 1, bound: 'hold', probe: true })
    expect(lane.view()).toMatchObject({
      phase: 'held',
      heldSince: 1,
      heldUntil: 5 * MINUTE + 1,
      hold: {
        by: 'reply',
        cause: 'rate-limit',
        rule: 'test-rate-limit',
        text: '421 4.7.0 slow down',
        code: 421,
      },
    })
  })

  it('probes with one message, and waits for its answer', () => {
    const lane = new Driven(perMinute(6_000, { burst: 50 }))
    lane.send(slowDown())
    lane.now = lane.opening().at
    expect(lane.opening()).toEqual({ at: lane.now, room: 1, probe: true })
    expect(lane.view().phase).toBe('probing')
    expect(lane.opening(0, { inFlight: 1, probing: true })).toMatchObject({ at: Infinity, bound: 'probe' })
  })

  it('probes again when the probe came back unanswered', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown())
    lane.send({ kind: 'returned' })
    expect(lane.opening()).toEqual({ at: lane.now, room: 1, probe: true })
  })

  it('holds twice as long each time the probe is refused, up to the longest', () => {
    const lane = new Driven(perMinute(20))
    const holds: number[] = []
    for (let i = 0; i < 8; i += 1) {
      lane.send(slowDown())
      holds.push(Math.round(((lane.view().heldUntil ?? 0) - lane.now) / MINUTE))
    }
    expect(holds).toEqual([5, 10, 20, 40, 80, 160, 240, 240])
  })

  it('waits as long as the server says, and from the second refusal on at least as long as the escalation', () => {
    const lane = new Driven(perMinute(20))
    const stated = { retryAfterMs: 7 * MINUTE, retryAfterFrom: 'text' as const }
    const holds: number[] = []
    for (let i = 0; i < 4; i += 1) {
      lane.send(slowDown({}, stated))
      holds.push(((lane.view().heldUntil ?? 0) - lane.now) / MINUTE)
    }
    expect(holds).toEqual([7, 10, 20, 40])
  })

  it('bounds what a server says to between a second and a day', () => {
    const brief = new Driven(perMinute(20))
    brief.send(slowDown({}, { retryAfterMs: 1, retryAfterFrom: 'text' }))
    expect((brief.view().heldUntil ?? 0) - brief.now).toBeGreaterThanOrEqual(SECOND)
    const long = new Driven(perMinute(20))
    long.send(slowDown({}, { retryAfterMs: 90 * DAY, retryAfterFrom: 'text' }))
    expect((long.view().heldUntil ?? 0) - long.now).toBeLessThanOrEqual(1.1 * DAY)
  })

  it('takes a rule’s own wait in place of the reaction’s', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown({}, { retryAfterMs: 15 * MINUTE, retryAfterFrom: 'rule' }))
    expect((lane.view().heldUntil ?? 0) - lane.now).toBe(15 * MINUTE)
  })

  it('neither lengthens nor ends a hold for replies to attempts that began before it', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown())
    const until = lane.view().heldUntil
    lane.now += SECOND
    lane.arrive(slowDown(), { startedAt: 0 })
    lane.arrive(OK, { startedAt: 0 })
    expect(lane.view()).toMatchObject({ phase: 'held', heldUntil: until, level: 1 })
    lane.now = 6 * MINUTE
    lane.arrive(NO_SUCH_USER, { startedAt: 0 })
    expect(lane.view().phase).toBe('probing')
  })

  it('opens for any reply to the probe that is not a throttle', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown())
    lane.send(NO_SUCH_USER)
    expect(lane.view().phase).toBe('slow-start')
  })

  it('comes back one by one and is open again within a minute', () => {
    const lane = new Driven(perMinute(600, { burst: 50 }))
    lane.send(slowDown({ rateFactor: 1 }))
    lane.now = lane.opening().at + HOUR
    lane.send(OK)
    expect(lane.view()).toMatchObject({ phase: 'slow-start', concurrency: 1, burst: 1 })
    expect(lane.opening()).toMatchObject({ room: 1, bound: 'token' })
    const from = lane.now
    while (lane.view().phase === 'slow-start') lane.send(OK)
    expect(lane.now - from).toBeLessThan(MINUTE)
    expect(lane.view().rate).toBe(10)
  })

  it('forgets its escalation after good time', () => {
    const lane = new Driven(perMinute(20))
    for (let i = 0; i < 4; i += 1) lane.send(slowDown())
    lane.send(OK)
    const opened = lane.now
    while (lane.now < opened + 5 * HOUR) lane.send(OK)
    lane.send(slowDown())
    expect(lane.view().level).toBe(1)
  })

  it('is not held by unexplained refusals before three in a row to different messages', () => {
    const lane = new Driven(perMinute(20))
    for (let i = 0; i < 5; i += 1) lane.send(noReason, { ticket: 'same' })
    expect(lane.view().phase).toBe('open')
    lane.send(OK)
    lane.send(noReason)
    lane.send(noReason)
    expect(lane.view().phase).toBe('open')
    lane.send(noReason)
    expect(lane.view()).toMatchObject({ phase: 'held', hold: { cause: 'unknown' } })
    lane.send(noReason)
    expect(lane.view()).toMatchObject({ phase: 'held', level: 2 })
  })
})

describe('a refusal for good', () => {
  it('does not hold the lane when its reaction says so, though the same cause as a deferral does', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown({ permanentHoldMs: 0, rateFactor: 1 }, { persistence: 'permanent' }))
    expect(lane.view().phase).toBe('open')
    lane.send(slowDown({ permanentHoldMs: 0, rateFactor: 1 }))
    expect(lane.view().phase).toBe('held')
  })
})

describe('a lane that adapts', () => {
  const flowing = (limits: LaneLimits, minutes: number) => {
    const lane = new Driven(limits)
    while (lane.now < minutes * MINUTE) lane.send(OK)
    return lane
  }

  it('cuts its rate to half of what was really accepted, once per hold', () => {
    const lane = flowing(perMinute(60), 10)
    const began = lane.now
    lane.send(slowDown())
    lane.arrive(slowDown(), { startedAt: began })
    lane.send(slowDown())
    expect((lane.view().rate ?? 0) * 60).toBeGreaterThan(25)
    expect((lane.view().rate ?? 0) * 60).toBeLessThan(35)
    expect(lane.heard('rate')).toHaveLength(1)
  })

  it('is not held for hours when it is refused after much accepted mail', () => {
    const lane = new Driven(perMinute(600))
    for (let i = 0; i < 6; i += 1) lane.send(slowDown())
    for (let i = 0; i < 60; i += 1) lane.send(OK)
    lane.send(slowDown())
    expect(lane.view().level).toBeLessThanOrEqual(4)
  })

  it('learns from an hour of refused probes that the receiver counts by the hour', () => {
    const lane = new Driven(perMinute(600, { burst: 50 }))
    for (let i = 0; i < 500; i += 1) lane.send(OK)
    for (let i = 0; i < 4; i += 1) lane.send(slowDown())
    lane.send(OK)
    lane.now += DAY / 2
    expect((lane.state.rate ?? 0) * MINUTE).toBeLessThan(20)
  })

  it('knows after one refused probe what a receiver takes that counts by the minute', () => {
    const limits = perMinute(1200)
    const lane = new Driven(limits)
    // 300 in a quarter of a minute; the first probe comes too early, the second in the next minute
    for (let i = 0; i < 300; i += 1) lane.send(OK)
    const shortHold = slowDown({ holdMs: 20_000, holdMaxMs: 40_000 })
    lane.send(shortHold)
    lane.send(shortHold)
    lane.send(OK)
    const later = lane.now + 5 * MINUTE
    while (lane.now < later) lane.send(OK)
    const rate = (lane.state.rate ?? 0) * MINUTE
    expect(rate).toBeGreaterThan(240)
    expect(rate).toBeLessThan(300)
  })

  it('grows back to what is configured and no further', () => {
    const lane = flowing(perMinute(60), 5)
    lane.send(slowDown())
    const back = lane.now + DAY
    while (lane.now < back) lane.send(OK)
    expect(lane.view().rate).toBe(1)
    expect(lane.heard('rate').at(-1)).toMatchObject({ to: 1 })
  })

  it('is quickly back near the rate that was refused, and slow to pass it', () => {
    const lane = flowing(perMinute(60), 5)
    lane.send(slowDown())
    const back = lane.now + 15 * MINUTE
    while (lane.now < back) lane.send(OK)
    expect(lane.view().rate).toBeGreaterThan(0.85)
    while (lane.now < back + 10 * MINUTE) lane.send(OK)
    expect(lane.view().rate).toBeLessThan(1)
  })

  it('cuts concurrency for too many connections, not the rate', () => {
    const lane = flowing(perMinute(60, { concurrency: 10 }), 5)
    lane.send(tooManyConnections, { inFlight: 6 })
    lane.send(OK)
    while (lane.view().phase !== 'open') lane.send(OK)
    expect(lane.view()).toMatchObject({ rate: 1, concurrency: 3 })
    const later = lane.now + 30 * MINUTE
    while (lane.now < later) lane.send(OK)
    expect(lane.view().concurrency).toBe(5)
    while (lane.now < later + DAY) lane.send(OK)
    expect(lane.view().concurrency).toBe(10)
  })

  it('never stops altogether, however often it is refused', () => {
    const lane = flowing(perMinute(60), 5)
    for (let i = 0; i < 40; i += 1) {
      lane.send(slowDown({ holdMs: MINUTE, holdMaxMs: MINUTE }))
      lane.send(OK)
    }
    expect((lane.state.rate ?? 0) * HOUR).toBeCloseTo(4)
  })
})

describe('a lane in trouble', () => {
  it('says so once per episode, with the pattern, the advice and the page', () => {
    const lane = new Driven(perMinute(20))
    const url = 'https://postmaster.example.net/slow'
    for (let i = 0; i < 6; i += 1) lane.send(slowDown({}, { url }))
    expect(lane.heard('trouble')).toEqual([
      {
        kind: 'trouble',
        pattern: 'held 3 times within 15 min, last for rate-limit (test-rate-limit)',
        cause: 'rate-limit',
        advice: 'Send slower.',
        url,
        holds: 3,
        since: 1,
      },
    ])
    lane.send(OK)
    const good = lane.now + DAY
    while (lane.now < good) lane.send(OK)
    for (let i = 0; i < 3; i += 1) lane.send(slowDown({}, { url }))
    expect(lane.heard('trouble')).toHaveLength(2)
  })

  it('says so at once when the reaction asks for it', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown({ alert: true }))
    expect(lane.heard('trouble')).toMatchObject([
      { holds: 1, pattern: 'held for rate-limit (test-rate-limit)' },
    ])
  })
})

describe('a poison message', () => {
  it('is found out when another message passes where it was refused', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown(), { ticket: 'poison' })
    lane.send(slowDown(), { ticket: 'poison' })
    expect(speaksOfMessage(lane.state, 'poison', verdict('rate-limit'))).toBe(false)
    lane.send(OK, { ticket: 'other' })
    lane.send(slowDown(), { ticket: 'poison' })
    expect(lane.heard('poison')).toEqual([{ kind: 'poison', ticket: 'poison', rule: 'test-rate-limit' }])
    expect(lane.view().phase).toBe('slow-start')
    lane.send(OK, { ticket: 'third' })
    expect(speaksOfMessage(lane.state, 'poison', verdict('rate-limit'))).toBe(true)
  })

  it('does not keep a lane from being held when nobody else passes', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown(), { ticket: 'last' })
    lane.send(OK, { ticket: 'other' })
    lane.send(slowDown(), { ticket: 'last' })
    expect(lane.view().phase).toBe('slow-start')
    lane.send(slowDown(), { ticket: 'last' })
    expect(lane.view().phase).toBe('held')
  })

  it('does not hide a throttle by another rule, nor one of another message', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown(), { ticket: 'poison' })
    lane.send(OK, { ticket: 'other' })
    expect(speaksOfMessage(lane.state, 'poison', verdict('rate-limit', { rule: 'else' }))).toBe(false)
    lane.send(slowDown(), { ticket: 'third' })
    expect(lane.view().phase).toBe('held')
  })

  it('is no suspect any more once it passed', () => {
    const lane = new Driven(perMinute(20))
    lane.send(slowDown(), { ticket: 'poison' })
    lane.send(OK, { ticket: 'poison' })
    expect(lane.state.suspects).toEqual([])
  })
})

describe('a person at the lane', () => {
  it('holds it for as long as they like, and shows why', () => {
    const limits = perMinute(20)
    const lane = new Driven(limits)
    lane.state = holdLane(lane.state, limits, 0, 3 * DAY, { by: 'operator', reason: 'moving house' })
    expect(lane.opening()).toMatchObject({ at: 3 * DAY, bound: 'hold' })
    expect(lane.view().hold).toMatchObject({ by: 'operator', reason: 'moving house' })
    expect(clampLane(lane.state, limits, DAY).hold?.until).toBe(3 * DAY)
  })

  it('does not shorten a hold that lasts longer', () => {
    const limits = perMinute(20)
    const lane = new Driven(limits)
    lane.send(slowDown())
    const held = holdLane(lane.state, limits, 2, MINUTE, { by: 'operator', reason: 'a moment' })
    expect(held).toBe(lane.state)
  })

  it('releases it into slow start, not at full speed', () => {
    const limits = perMinute(600, { burst: 50 })
    const lane = new Driven(limits)
    lane.send(slowDown())
    lane.now += MINUTE
    lane.state = releaseLane(lane.state, limits, lane.now)
    expect(lane.view()).toMatchObject({ phase: 'slow-start', burst: 1, concurrency: 1 })
    expect(lane.opening().at).toBe(lane.now)
    lane.arrive(slowDown(), { startedAt: 0 })
    expect(lane.view().phase).toBe('slow-start')
    expect(releaseLane(openLane(limits, 0), limits, 5).phase).toBe('open')
  })
})

describe('a lane that was put away', () => {
  it('is forgotten only when nothing about it differs from a fresh one', () => {
    const limits = perMinute(20)
    const lane = new Driven(limits)
    expect(isQuiet(lane.state, limits, 0)).toBe(true)
    lane.send(OK)
    expect(isQuiet(lane.state, limits, lane.now)).toBe(false)
    expect(isQuiet(lane.state, limits, lane.now + MINUTE)).toBe(false)
    expect(isQuiet(lane.state, limits, lane.now + 2 * HOUR)).toBe(true)
    lane.send(slowDown())
    expect(isQuiet(lane.state, limits, lane.now + DAY)).toBe(false)
  })

  it('comes back as it was', () => {
    const lane = new Driven(
      perMinute(20, { caps: [{ count: 50, perMs: DAY, text: '50/d' }], warmup: { startAt: 0, daily: [30] } }),
    )
    for (let i = 0; i < 5; i += 1) lane.send(OK)
    lane.send(slowDown())
    expect(loadLane(saveLane(lane.state))).toEqual(lane.state)
  })

  it('is saved with every message where that is promised, and where few tokens make the burst', () => {
    const capped = perMinute(20, { burst: 1_000, caps: [{ count: 50, perMs: DAY, text: '50/d' }] })
    const warming = perMinute(20, { burst: 1_000, warmup: { startAt: 0, daily: [30] } })
    for (const limits of [capped, warming, perMinute(20, { burst: 20 })]) {
      const lane = new Driven(limits)
      lane.send(OK)
      expect(isWorthSaving(undefined, lane.state, limits, lane.now)).toBe(true)
    }
  })

  it('waits to be saved while only tokens were spent, at most a fiftieth of its burst', () => {
    const limits = perMinute(60_000, { burst: 1_000 })
    const fresh = openLane(limits, 0)
    const spent = (count: number) => depart(fresh, limits, 0, count)
    expect(isWorthSaving(fresh, spent(20), limits, 0)).toBe(false)
    expect(isWorthSaving(fresh, spent(21), limits, 0)).toBe(true)
    expect(isWorthSaving(undefined, spent(21), limits, 0)).toBe(true)
    expect(isWorthSaving(spent(20), spent(40), limits, 0)).toBe(false)
    const lane = new Driven(limits)
    const before = lane.state
    lane.send(slowDown())
    expect(isWorthSaving(before, lane.state, limits, lane.now)).toBe(true)
  })

  it('is refused when what was stored is no lane', () => {
    const saved = saveLane(openLane(perMinute(20), 0))
    for (const text of [
      '',
      '{',
      'null',
      '[]',
      '{}',
      '{"phase":"open"}',
      saved.replace('"tokens":1', '"tokens":null'),
      saved.replace('"open"', '"held"'),
      saved.replace('"suspects":[]', '"suspects":[3]'),
    ])
      expect(loadLane(text)).toBeUndefined()
  })

  it('is fitted to a policy that was edited since', () => {
    const lane = new Driven(perMinute(60, { burst: 50, caps: [{ count: 50, perMs: DAY, text: '50/d' }] }))
    for (let i = 0; i < 40; i += 1) lane.send(OK)
    lane.send(slowDown())
    const tighter = perMinute(2, {
      burst: 2,
      concurrency: 1,
      caps: [
        { count: 41, perMs: DAY, text: '41/d' },
        { count: 9, perMs: HOUR, text: '9/h' },
      ],
    })
    const fitted = clampLane(lane.state, tighter, lane.now)
    expect(fitted).toMatchObject({ phase: 'held', rate: undefined })
    expect(fitted.tokens).toBeLessThanOrEqual(2)
    const at = opening(fitted, tighter, lane.now + HOUR, IDLE, 0)
    expect(at.bound).toBe('cap')
  })
})

describe('a lane under a clock that jumped back', () => {
  it('is held no longer than a day, and goes on', () => {
    const limits = perMinute(20, { caps: [{ count: 3, perMs: HOUR, text: '3/h' }] })
    const lane = new Driven(limits, 1_000 * DAY)
    for (let i = 0; i < 3; i += 1) lane.send(OK)
    lane.send(slowDown())
    lane.now = 0
    lane.state = clampLane(lane.state, limits, 0)
    expect(lane.opening().at).toBeLessThanOrEqual(DAY)
    lane.now = lane.opening().at
    lane.send(OK)
    expect(lane.view().phase).toBe('slow-start')
    expect(lane.opening().at).toBeLessThanOrEqual(lane.now + 2 * HOUR)
  })
})
