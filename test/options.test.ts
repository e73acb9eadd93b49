import { describe, expect, it } from 'vitest'
import { systemClock } from '../src/clock.ts'
import { SteadymailError } from '../src/core/error.ts'
import { parseOptions, parseSendOptions, type WrapOptions } from '../src/options.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { sqliteStore } from '../src/stores/sqlite/store.ts'

const store = memoryStore()

function refusal(parse: () => unknown): string {
  try {
    parse()
  } catch (error) {
    expect(error).toBeInstanceOf(SteadymailError)
    expect((error as SteadymailError).code).toBe('BAD_OPTION')
    return (error as Error).message
  }
  return 'accepted'
}

describe('wrapTransport’s options', () => {
  it('need only a store', () => {
    expect(parseOptions({ store })).toEqual({
      store,
      ttlMs: 432_000_000,
      policies: [],
      route: undefined,
      on: {},
      onSettled: undefined,
      onUncertain: 'retry',
      egress: { limits: { burst: 50, caps: [], concurrency: 5 }, concurrency: undefined, gate: undefined },
      attemptTimeoutMs: 660_000,
      contentTimeoutMs: 600_000,
      maxMessageBytes: 26_214_400,
      maxWaiting: undefined,
      retention: { acceptedMs: 600_000, failedMs: 86_400_000, keysMs: 86_400_000 },
      deliver: true,
      logger: undefined,
      resolveMx: false,
      clock: systemClock,
    })
  })

  it('remember what has ended for longer where it is on disk', () => {
    expect(parseOptions({ store: sqliteStore('never.db') }).retention).toEqual({
      acceptedMs: 259_200_000,
      failedMs: 2_592_000_000,
      keysMs: 604_800_000,
    })
  })

  it('take an account’s quota as one rate or several windows', () => {
    const limits = (egress: WrapOptions['egress']) => parseOptions({ store, egress }).egress.limits
    expect(limits({ rate: '14/s', concurrency: 3 })).toMatchObject({
      rate: { count: 14, perMs: 1_000 },
      burst: 70,
      caps: [],
      concurrency: 3,
    })
    expect(limits({ rate: ['50000/d', '14/s'], burst: 1 })).toMatchObject({
      rate: { text: '14/s' },
      burst: 1,
      caps: [{ text: '50000/d' }],
    })
  })

  it('take a warm-up of the account, stage by stage or by name', () => {
    const warmup = (daily: 'gentle' | number[]) =>
      parseOptions({ store, egress: { warmup: { start: '2026-12-01', daily } } }).egress.limits.warmup
    expect(warmup([50, 100])).toEqual({ startAt: Date.UTC(2026, 11, 1), daily: [50, 100] })
    expect(warmup('gentle')).toMatchObject({ name: 'gentle', startAt: Date.UTC(2026, 11, 1) })
    expect(
      refusal(() => parseOptions({ store, egress: { warmup: { start: '2026-12-01', daily: 'slow' } } })),
    ).toContain("egress.warmup.daily: expected one of 'automated', 'gentle', got 'slow'")
  })

  it('take room as messages, bytes or both', () => {
    const room = (maxWaiting: WrapOptions['maxWaiting']) => parseOptions({ store, maxWaiting }).maxWaiting
    expect(room(100)).toEqual({ messages: 100, bytes: Infinity })
    expect(room({ bytes: 1_000 })).toEqual({ messages: Infinity, bytes: 1_000 })
  })

  it('take console for a logger, and any gate with schedule', () => {
    const gate = { schedule: <T>(use: () => Promise<T>) => use() }
    const parsed = parseOptions({ store, logger: console, egress: { gate } })
    expect([parsed.logger, parsed.egress.gate]).toEqual([console, gate])
  })

  it('are refused without options', () => {
    expect(refusal(() => parseOptions(undefined))).toContain(
      "expected options with a store, as { store: sqliteStore('outbox.db') }",
    )
  })

  it.each<[string, unknown, string]>([
    [
      'store',
      undefined,
      "store: expected a store, as memoryStore() or sqliteStore('outbox.db'), got undefined",
    ],
    [
      'store',
      'outbox.db',
      "store: expected a store, as memoryStore() or sqliteStore('outbox.db'), got 'outbox.db'",
    ],
    ['ttl', '5 days', "ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got '5 days'"],
    ['ttl', '-5d', "ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got '-5d'"],
    ['ttl', 0, 'ttl: expected more than 0, got 0'],
    ['ttl', '20', "ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got '20'"],
    ['ttl', Number.NaN, "ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got NaN"],
    ['tll', '5d', "tll: expected a known option, perhaps 'ttl', got 'tll'"],
    ['policies', {}, 'policies: expected an array of policies, got an object with no keys'],
    ['route', 'mx', "route: expected one of 'relay', 'direct', got 'mx'"],
    ['on', { fail: () => {} }, "on.fail: expected a known option, perhaps 'failed', got 'fail'"],
    ['on', { failed: 'log' }, "on.failed: expected a function, got 'log'"],
    ['onSettled', true, 'onSettled: expected a function, got true'],
    ['onUncertain', 'drop', "onUncertain: expected one of 'retry', 'park', 'fail', got 'drop'"],
    ['egress', { rate: '14' }, "egress.rate: expected '<number>/<s|min|h|d>', got '14'"],
    ['egress', { rate: ['14/s', '0/d'] }, "egress.rate[1]: expected a rate above 0, got '0/d'"],
    ['egress', { rate: [] }, 'egress.rate: expected at least one rate, got an array of 0'],
    ['egress', { concurrency: 0 }, 'egress.concurrency: expected a whole number, at least 1, got 0'],
    [
      'egress',
      { gate: {} },
      'egress.gate: expected a gate with schedule(fn), as bottleneckGate(limiter), got an object with no keys',
    ],
    ['contentTimeout', '0ms', "contentTimeout: expected more than 0, got '0ms'"],
    ['attemptTimeout', '2h', "attemptTimeout: expected at most 60m, got '2h'"],
    ['maxMessageBytes', 1.5, 'maxMessageBytes: expected a whole number, at least 1, got 1.5'],
    ['maxWaiting', '100', "maxWaiting: expected a number of messages, or { messages, bytes }, got '100'"],
    [
      'retention',
      { accept: '3d' },
      "retention.accept: expected a known option, perhaps 'accepted', got 'accept'",
    ],
    ['deliver', 'no', "deliver: expected true or false, got 'no'"],
    ['logger', {}, 'logger: expected a logger with debug, info, warn and error, got an object with no keys'],
    ['clock', Date, 'clock: expected a clock, got a function'],
  ])('refuse a bad %s: %j', (key, value, message) => {
    expect(refusal(() => parseOptions({ store, [key]: value }))).toBe(message)
  })

  it('never repeat what may be a secret in full', () => {
    const message = refusal(() => parseOptions({ store, logger: { password: 'hunter2' } }))
    expect(message).not.toContain('hunter2')
  })
})

describe('sendWithRetry’s options', () => {
  it('may be left out', () => {
    const nothing = { key: undefined, ttlMs: undefined, priority: 1, notBeforeAt: undefined, meta: undefined }
    expect(parseSendOptions(undefined)).toEqual({ ...nothing, onUncertain: undefined, signal: undefined })
  })

  it('are resolved to numbers', () => {
    const { signal } = new AbortController()
    const moment = new Date('2026-12-01T08:00:00Z')
    const given = {
      key: 'order-42 😀',
      ttl: '2h',
      priority: 'high',
      notBefore: moment,
      meta: { order: 42 },
      signal,
    } as const
    expect(parseSendOptions(given)).toEqual({
      key: 'order-42 😀',
      ttlMs: 7_200_000,
      priority: 0,
      notBeforeAt: moment.getTime(),
      meta: { order: 42 },
      onUncertain: undefined,
      signal,
    })
    expect(parseSendOptions({ notBefore: 12, priority: 'bulk' })).toMatchObject({
      notBeforeAt: 12,
      priority: 2,
    })
  })

  const circle: Record<string, unknown> = {}
  circle.self = circle

  it.each<[string, unknown, string]>([
    ['key', '', "key: expected a key that is not empty, got ''"],
    ['key', 42, 'key: expected a key that is not empty, got 42'],
    ['key', 'k'.repeat(256), 'key: expected at most 255 characters, got 256'],
    ['key', 'a\0b', "key: expected text without NUL and half characters (lone surrogates), got 'a\\x00b'"],
    [
      'key',
      '😀😀'.slice(0, 3),
      "key: expected text without NUL and half characters (lone surrogates), got '😀\uD83D'",
    ],
    ['ttl', '0s', "ttl: expected more than 0, got '0s'"],
    ['priority', 'urgent', "priority: expected one of 'high', 'normal', 'bulk', got 'urgent'"],
    [
      'notBefore',
      new Date('never'),
      'notBefore: expected a valid Date or epoch ms, got an object with no keys',
    ],
    ['notBefore', 'tomorrow', "notBefore: expected a valid Date or epoch ms, got 'tomorrow'"],
    ['meta', circle, 'meta: expected a value that JSON can hold, got an object with self'],
    ['meta', () => {}, 'meta: expected a value that JSON can hold, got a function'],
    ['meta', 'x'.repeat(70_000), 'meta: expected at most 65536 characters of JSON, got 70002'],
    ['onUncertain', 'ask', "onUncertain: expected one of 'retry', 'park', 'fail', got 'ask'"],
    ['signal', {}, 'signal: expected an AbortSignal, got an object with no keys'],
    ['keys', 'a', "keys: expected a known option, perhaps 'key', got 'keys'"],
  ])('refuse a bad %s', (key, value, message) => {
    expect(refusal(() => parseSendOptions({ [key]: value }))).toBe(message)
  })
})
