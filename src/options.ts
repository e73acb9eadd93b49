// What wrapTransport and sendWithRetry are given, parsed once into a resolved form with every default in place.
// Each error names the option, what was expected and what was given; unknown options are refused.
// Not here: policies, which policy-parse.ts checks when they are merged.

import { type Clock, systemClock } from './clock.ts'
import { at, callable, fields, flag, list, oneOf, optional, span, whole, word } from './core/check.ts'
import { badOption } from './core/error.ts'
import type { LaneLimits, RateLimit } from './core/limits.ts'
import { type OnUncertain, PRIORITIES, type Priority, type PriorityName } from './core/message.ts'
import type { ProviderPolicy, Warmup } from './core/policy.ts'
import { parseCaps, parseWarmup } from './core/policy-parse.ts'
import { type Duration, MINUTE, type Rate } from './core/units.ts'
import { EVENT_NAMES, type Listeners, type Outcome } from './events.ts'
import type { EgressGate } from './gate.ts'
import type { MxLookup } from './grouping.ts'
import type { Logger } from './report.ts'
import type { Room, Store } from './stores/store.ts'

/** The wrapped transport's own limits: what one's account may do, whoever the recipients are. */
export interface EgressOptions {
  /** Recipients per time; several at once for an hourly or daily quota beside the rate, as `['14/s', '50000/d']`. */
  readonly rate?: Rate | readonly Rate[]
  /** Recipients that may go at once. @default what the shortest rate allows in 5 s, at least 1 */
  readonly burst?: number
  /** Attempts under way at a time. @default the pool's `maxConnections`, else 5 */
  readonly concurrency?: number
  /** A slow beginning of a new address or account: recipients per day, over all lanes. @default none */
  readonly warmup?: Warmup
  /** A quota shared by several processes, as `bottleneckGate(limiter)` of `steadymail/bottleneck`. */
  readonly gate?: EgressGate
}

/** How long what has ended is remembered. */
export interface RetentionOptions {
  /** Messages all of whose recipients were accepted. @default '3d'; '10m' where the store is the process's memory */
  readonly accepted?: Duration
  /** Messages with a failed recipient, and their bytes. @default '30d'; '1d' in memory */
  readonly failed?: Duration
  /** Idempotency keys, once their message has ended. @default '7d'; '1d' in memory */
  readonly keys?: Duration
}

/** What `wrapTransport` is told. */
export interface WrapOptions {
  /** Where mail waits: `sqliteStore(file)` or `memoryStore()`. Required, so that nobody loses mail by omission. */
  readonly store: Store
  /** How long a message is tried, where neither the send nor a policy says otherwise. @default '5d' (RFC 5321 §4.5.4.1) */
  readonly ttl?: Duration
  /** One's own policies, merged over the built-in ones. @default [] */
  readonly policies?: readonly ProviderPolicy[]
  /** Whether replies come from one's own relay or from the recipients' MX. @default what the transport says of itself, else 'relay' */
  readonly route?: 'relay' | 'direct'
  /** Listeners from the first moment on; best effort. */
  readonly on?: Listeners
  /** Called at least once for every message that has ended, again after a crash, until it resolves. */
  readonly onSettled?: (outcome: Outcome) => unknown
  /** What becomes of mail that may have been delivered without a reply. @default 'retry' */
  readonly onUncertain?: OnUncertain
  /** One's own account: its quota and connections, whoever the recipients are. */
  readonly egress?: EgressOptions
  /** One attempt at most; longer than the 10 minutes a server may take to answer the final dot (RFC 5321 §4.5.3.2.6). @default '11m' */
  readonly attemptTimeout?: Duration
  /**
   * Mail whose content (streams, files, URLs, plugins) is not read by then is refused with `BAD_MESSAGE`; of the machine's
   * time, whatever the clock. @default '10m'
   */
  readonly contentTimeout?: Duration
  /** Larger mail is refused with `BAD_MESSAGE`, in octets as sent. @default 26214400 (25 MiB) */
  readonly maxMessageBytes?: number
  /** Messages, or messages and bytes, that may wait before `sendWithRetry` refuses with `OUTBOX_FULL`. @default no limit */
  readonly maxWaiting?: number | { readonly messages?: number; readonly bytes?: number }
  /** How long what has ended is remembered. */
  readonly retention?: RetentionOptions
  /** `false` makes a process that only enqueues. @default true */
  readonly deliver?: boolean
  /** pino's shape, as console; addresses are shortened, bodies and credentials never written. @default none */
  readonly logger?: Logger
  /**
   * Groups recipient domains by the MX host that answers for them, so that hosted domains join their provider's lane.
   * `true`, or one's own `mxResolver()` of `steadymail/mx`; a direct transport brings its own. @default false
   */
  readonly resolveMx?: boolean | MxLookup
  /** Time and chance; for tests, as `manualClock()` of `steadymail/testing`. @default the machine's */
  readonly clock?: Clock
}

/** What `sendWithRetry` is told about one message. */
export interface SendOptions {
  /** Idempotency key: the same key again returns the first ticket. At most 255 characters, whole ones, and no NUL. */
  readonly key?: string
  /** How long this message is tried, whatever policies say. */
  readonly ttl?: Duration
  /** `high` goes before `normal`, `normal` before `bulk`, over all lanes. @default 'normal' */
  readonly priority?: PriorityName
  /** No try before this moment (a Date, or epoch ms); the TTL counts from it. */
  readonly notBefore?: Date | number
  /** JSON of your own, at most 65536 characters of it, on every event about the message. */
  readonly meta?: unknown
  /** For this message. @default the mailer's */
  readonly onUncertain?: OnUncertain
  /** Aborting it before the message is stored rejects the call; afterwards it does nothing. */
  readonly signal?: AbortSignal
}

export interface ResolvedEgress {
  /** `concurrency` is 5 where none was stated. */
  readonly limits: LaneLimits
  /** What the transport can have on the wire; `limits.concurrency` may be more, where the transport has a queue. */
  readonly connections?: number
  /** Attempts of a lane that wait at the transport behind each one that is under way. */
  readonly ahead?: number
  /** As stated; where it was not, the pool's `maxConnections` comes before the 5 of `limits`. */
  readonly concurrency: number | undefined
  readonly gate: EgressGate | undefined
}

export interface ResolvedOptions {
  readonly store: Store
  readonly ttlMs: number
  readonly policies: readonly ProviderPolicy[]
  readonly route: 'relay' | 'direct' | undefined
  readonly on: Listeners
  readonly onSettled: ((outcome: Outcome) => unknown) | undefined
  readonly onUncertain: OnUncertain
  readonly egress: ResolvedEgress
  readonly attemptTimeoutMs: number
  readonly contentTimeoutMs: number
  readonly maxMessageBytes: number
  readonly maxWaiting: Room | undefined
  readonly retention: { readonly acceptedMs: number; readonly failedMs: number; readonly keysMs: number }
  readonly deliver: boolean
  readonly logger: Logger | undefined
  readonly resolveMx: boolean | MxLookup
  readonly clock: Clock
}

export interface ResolvedSend {
  readonly key: string | undefined
  readonly ttlMs: number | undefined
  readonly priority: Priority
  readonly notBeforeAt: number | undefined
  readonly meta: unknown
  readonly onUncertain: OnUncertain | undefined
  readonly signal: AbortSignal | undefined
}

const WRAP_KEYS = [
  'store',
  'ttl',
  'policies',
  'route',
  'on',
  'onSettled',
  'onUncertain',
  'egress',
  'attemptTimeout',
  'contentTimeout',
  'maxMessageBytes',
  'maxWaiting',
  'retention',
  'deliver',
  'logger',
  'resolveMx',
  'clock',
] as const satisfies readonly (keyof WrapOptions)[]

const SEND_KEYS = [
  'key',
  'ttl',
  'priority',
  'notBefore',
  'meta',
  'onUncertain',
  'signal',
] as const satisfies readonly (keyof SendOptions)[]

const EGRESS_KEYS = [
  'rate',
  'burst',
  'concurrency',
  'warmup',
  'gate',
] as const satisfies readonly (keyof EgressOptions)[]

const UNCERTAIN = ['retry', 'park', 'fail'] as const
const STORE_VERBS = ['open', 'close', 'add', 'turn', 'own', 'heads', 'get', 'byKey']
const CLOCK_VERBS = ['now', 'monotonic', 'random', 'after', 'turn']
const LOGGER_VERBS = ['debug', 'info', 'warn', 'error']

const DEFAULT_TTL = '5d'
const ON_DISK = { accepted: '3d', failed: '30d', keys: '7d' } as const
/** A process that sends 100 messages a second for three days would keep 50 GB of outcomes that nobody asks for. */
const IN_MEMORY = { accepted: '10m', failed: '1d', keys: '1d' } as const
const DEFAULT_ATTEMPT_TIMEOUT = '11m'
const DEFAULT_CONTENT_TIMEOUT = '10m'
const LONGEST_ATTEMPT_MS = 60 * MINUTE
const DEFAULT_MAX_MESSAGE_BYTES = 25 * 1024 * 1024
const DEFAULT_EGRESS_CONCURRENCY = 5
/** Recipients of one attempt at most where the egress states no rate. */
const DEFAULT_EGRESS_BURST = 50
const BURST_WINDOW_MS = 5_000
const MOST_KEY_CHARACTERS = 255
const NO_TEXT = /\0|\p{Surrogate}/u
/** The last moment that a Date can be. */
const LATEST_DATE = 8_640_000_000_000_000
const MOST_META_CHARACTERS = 65_536

/**
 * Checks and resolves the options of `wrapTransport`.
 * @throws {SteadymailError} `BAD_OPTION`, naming the option
 */
export function parseOptions(input: unknown): ResolvedOptions {
  const given = fields(input, '', WRAP_KEYS, "options with a store, as { store: sqliteStore('outbox.db') }")
  const store = shaped<Store>(
    given.store,
    'store',
    STORE_VERBS,
    "a store, as memoryStore() or sqliteStore('outbox.db')",
  )
  return {
    store,
    ttlMs: span(given.ttl ?? DEFAULT_TTL, 'ttl'),
    policies: list(given.policies ?? [], 'policies', 'an array of policies') as readonly ProviderPolicy[],
    route: optional(given.route, (v) => oneOf(v, 'route', ['relay', 'direct'] as const)),
    on: optional(given.on, parseListeners) ?? {},
    onSettled: optional(given.onSettled, (v) => callable(v, 'onSettled') as (outcome: Outcome) => unknown),
    onUncertain: oneOf(given.onUncertain ?? 'retry', 'onUncertain', UNCERTAIN),
    egress: parseEgress(given.egress ?? {}),
    attemptTimeoutMs: parseAttemptTimeout(given.attemptTimeout ?? DEFAULT_ATTEMPT_TIMEOUT),
    contentTimeoutMs: span(given.contentTimeout ?? DEFAULT_CONTENT_TIMEOUT, 'contentTimeout', 1),
    maxMessageBytes: whole(given.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES, 'maxMessageBytes'),
    maxWaiting: optional(given.maxWaiting, parseRoom),
    retention: parseRetention(given.retention ?? {}, store.durable ? ON_DISK : IN_MEMORY),
    deliver: flag(given.deliver ?? true, 'deliver'),
    logger: optional(given.logger, (v) =>
      shaped<Logger>(v, 'logger', LOGGER_VERBS, 'a logger with debug, info, warn and error'),
    ),
    resolveMx:
      typeof given.resolveMx === 'object'
        ? shaped<MxLookup>(given.resolveMx, 'resolveMx', ['resolve', 'peek'], 'true, false, or mxResolver()')
        : flag(given.resolveMx ?? false, 'resolveMx'),
    clock: optional(given.clock, (v) => shaped<Clock>(v, 'clock', CLOCK_VERBS, 'a clock')) ?? systemClock,
  }
}

/**
 * Checks and resolves the options of one `sendWithRetry`.
 * @throws {SteadymailError} `BAD_OPTION`, naming the option
 */
export function parseSendOptions(input: unknown): ResolvedSend {
  const given = fields(input ?? {}, '', SEND_KEYS, 'options, as { key, ttl, priority }')
  return {
    key: optional(given.key, parseKey),
    ttlMs: optional(given.ttl, (v) => span(v, 'ttl')),
    priority: PRIORITIES.indexOf(oneOf(given.priority ?? 'normal', 'priority', PRIORITIES)) as Priority,
    notBeforeAt: optional(given.notBefore, (v) => moment(v, 'notBefore')),
    meta: optional(given.meta, parseMeta),
    onUncertain: optional(given.onUncertain, (v) => oneOf(v, 'onUncertain', UNCERTAIN)),
    signal: optional(given.signal, parseSignal),
  }
}

function parseEgress(input: unknown): ResolvedEgress {
  const given = fields(input, 'egress', EGRESS_KEYS, 'the egress limits')
  const rates = [...(optional(given.rate, parseRates) ?? [])].sort((a, b) => a.perMs - b.perMs)
  const [rate, ...caps] = rates
  const concurrency = optional(given.concurrency, (v) => whole(v, 'egress.concurrency'))
  const warmup = optional(given.warmup, (v) => parseWarmup(v, 'egress.warmup'))
  const implied =
    rate === undefined
      ? DEFAULT_EGRESS_BURST
      : Math.max(1, Math.floor((rate.count / rate.perMs) * BURST_WINDOW_MS))
  return {
    limits: {
      burst: optional(given.burst, (v) => whole(v, 'egress.burst')) ?? implied,
      caps,
      concurrency: concurrency ?? DEFAULT_EGRESS_CONCURRENCY,
      ...(rate === undefined ? {} : { rate }),
      ...(warmup === undefined ? {} : { warmup }),
    },
    concurrency,
    gate: optional(given.gate, (v) =>
      shaped<EgressGate>(
        v,
        'egress.gate',
        ['schedule'],
        'a gate with schedule(fn), as bottleneckGate(limiter)',
      ),
    ),
  }
}

/** The shortest window is the rate, the others are caps. */
function parseRates(value: unknown): readonly RateLimit[] {
  const rates = parseCaps(value, 'egress.rate')
  if (rates.length === 0) throw badOption('egress.rate', 'at least one rate', value)
  return rates
}

function parseAttemptTimeout(value: unknown): number {
  const ms = span(value, 'attemptTimeout', 1_000)
  if (ms > LONGEST_ATTEMPT_MS) throw badOption('attemptTimeout', 'at most 60m', value)
  return ms
}

function parseRoom(value: unknown): Room {
  if (typeof value === 'number') return { messages: whole(value, 'maxWaiting'), bytes: Infinity }
  const given = fields(
    value,
    'maxWaiting',
    ['messages', 'bytes'],
    'a number of messages, or { messages, bytes }',
  )
  return {
    messages: optional(given.messages, (v) => whole(v, 'maxWaiting.messages')) ?? Infinity,
    bytes: optional(given.bytes, (v) => whole(v, 'maxWaiting.bytes')) ?? Infinity,
  }
}

function parseRetention(value: unknown, usual: Required<RetentionOptions>): ResolvedOptions['retention'] {
  const given = fields(value, 'retention', ['accepted', 'failed', 'keys'], '{ accepted, failed, keys }')
  return {
    acceptedMs: span(given.accepted ?? usual.accepted, 'retention.accepted', 0),
    failedMs: span(given.failed ?? usual.failed, 'retention.failed', 0),
    keysMs: span(given.keys ?? usual.keys, 'retention.keys', 0),
  }
}

function parseListeners(value: unknown): Listeners {
  const given = fields(value, 'on', EVENT_NAMES, 'listeners by event')
  for (const [name, listener] of Object.entries(given)) optional(listener, (v) => callable(v, at('on', name)))
  return given as Listeners
}

function parseKey(value: unknown): string {
  const key = word(value, 'key', 'a key that is not empty')
  if (key.length > MOST_KEY_CHARACTERS)
    throw badOption('key', `at most ${MOST_KEY_CHARACTERS} characters`, key.length)
  // UTF-8 has no half characters, so that two keys would become one; some SQLite drivers end a text at NUL
  if (NO_TEXT.test(key)) throw badOption('key', 'text without NUL and half characters (lone surrogates)', key)
  return key
}

/** Epoch ms of a Date, or of the number it already is. */
export function moment(value: unknown, path: string): number {
  const dated =
    typeof value === 'object' && value !== null && 'getTime' in value && typeof value.getTime === 'function'
  const ms: unknown = dated ? (value as { getTime(): unknown }).getTime() : value
  if (typeof ms !== 'number' || !(Math.abs(ms) <= LATEST_DATE))
    throw badOption(path, 'a valid Date or epoch ms', value)
  return ms
}

function parseMeta(value: unknown): unknown {
  const text = serialised(value)
  if (text === undefined) throw badOption('meta', 'a value that JSON can hold', value)
  if (text.length > MOST_META_CHARACTERS)
    throw badOption('meta', `at most ${MOST_META_CHARACTERS} characters of JSON`, text.length)
  return value
}

function serialised(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined // a cycle, or a bigint
  }
}

function parseSignal(value: unknown): AbortSignal {
  return shaped<AbortSignal>(value, 'signal', ['addEventListener', 'throwIfAborted'], 'an AbortSignal')
}

/** An object known by its verbs: the user's own implementations are as good as ours. */
function shaped<T>(value: unknown, path: string, verbs: readonly string[], what: string): T {
  const able =
    typeof value === 'object' &&
    value !== null &&
    verbs.every((verb) => typeof (value as Record<string, unknown>)[verb] === 'function')
  if (!able) throw badOption(path, what, value)
  return value as T
}
