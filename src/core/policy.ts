// What a user (or this library) says about a provider, as plain data.
// Not here: how it is checked (policy-parse.ts, policy-book.ts) or acted upon (decide.ts, lane.ts).

import type { Cause, Persistence, Scope } from './cause.ts'
import type { WarmupName } from './limits.ts'
import type { Phase, Reply } from './reply.ts'
import type { Duration, Rate } from './units.ts'
import type { ReplyContext, Verdict } from './verdict.ts'

/** Recognises one kind of reply. Every condition given must hold; at least one is needed. */
export interface ReplyRule {
  /** Unique among the policy's rules, kebab-case, as `yahoo-tss04`. */
  readonly id: string
  /** Basic code, several, or a class. */
  readonly code?: number | readonly number[] | '4xx' | '5xx'
  /** Enhanced status code or codes; `*` stands for one part: `4.7.*`. */
  readonly enhanced?: string | readonly string[]
  /** A pattern without `g` or `y`, or words to find whatever their case. */
  readonly text?: RegExp | string
  readonly phase?: Phase | readonly Phase[]
  readonly cause: Cause
  /** @default the cause's usual scope */
  readonly scope?: Scope
  /** @default the class of the reply's code */
  readonly persistence?: Persistence
  /** The wait when the text states none. */
  readonly retryAfter?: Duration
  /** One sentence for the operator. @default the cause's */
  readonly advice?: string
  /** The provider's page. */
  readonly url?: string
  /** Where the rule comes from. Built-in rules all have one. */
  readonly source?: string
  /** Day the source was read, `YYYY-MM-DD`. */
  readonly date?: string
  /** Replies that must match this rule; `testRules` checks them. */
  readonly samples?: readonly string[]
}

/**
 * How waits grow: an explicit list (the last repeats; each is a least wait, lengthened by up to a fifth so
 * that mails of one minute part), or an exponential curve.
 */
export type RetrySchedule =
  | readonly Duration[]
  | {
      readonly first: Duration
      /** @default 2 */
      readonly factor?: number
      readonly max: Duration
      /** Share of the delay by which it varies either way. @default 0.2 */
      readonly jitter?: number
    }

/** What a cause calls for. */
export interface Reaction {
  /** The message's own waits. @default the policy's `retry` */
  readonly retry?: RetrySchedule
  /**
   * Hold what the verdict speaks of for this long; doubles when repeated. A list gives the holds in turn, of which
   * the last repeats. `0`: no hold.
   */
  readonly hold?: Duration | readonly Duration[]
  /** The hold after a permanent refusal, as of a listed address. `0`: no hold. @default `hold` */
  readonly permanentHold?: Duration
  /** Longest hold the doubling reaches. @default '4h' */
  readonly holdMax?: Duration
  /** Multiplies the rate, 0 < factor ≤ 1. @default 1 */
  readonly rateFactor?: number
  /** Multiplies the concurrency, 0 < factor ≤ 1. @default 1 */
  readonly concurrencyFactor?: number
  /** Whether a refusal advances the message's back-off. @default true */
  readonly countsAsAttempt?: boolean
  /**
   * What a permanent refusal that speaks of the sender or the connection does to the delivery: a wrong
   * password says nothing of the message, which is kept. @default 'fail'
   */
  readonly onPermanent?: 'fail' | 'retry'
  /** Give up after this many counted attempts. @default no limit but the TTL */
  readonly maxAttempts?: number
  /** Give up when the message is this old, if sooner than its TTL. */
  readonly maxAge?: Duration
  /** Raise a `trouble` event. @default false */
  readonly alert?: boolean
  /** Where the numbers come from. */
  readonly source?: string
}

/** A slow beginning for a new address or domain: recipients per day, stage by stage. */
export interface Warmup {
  /** First day, `YYYY-MM-DD` (UTC). */
  readonly start: string
  /**
   * Recipients allowed each day; after the last the plan is over. `'automated'`: 200, 500, 1 000 … 100 000 in eleven
   * stages, as SparkPost warms addresses up by itself. `'gentle'`: 50 to 5 000 in four weeks, never more than about
   * double the stage before, for a new domain or little mail.
   */
  readonly daily: readonly number[] | WarmupName
}

/** What is known about one provider. Say only what differs: the rest comes from the built-in policies. */
export interface ProviderPolicy {
  /** As it appears in explanations. */
  readonly name: string
  /** Recipient domains; `*.acme.net` means the subdomains, not `acme.net` itself. `*` means all. */
  readonly domains?: readonly string[]
  /** Patterns of MX hosts, as `*.google.com`. */
  readonly mx?: readonly string[]
  /** Texts that give the provider away in a reply, as `/\[TSS04\]/`; for replies that came through a relay. */
  readonly marks?: readonly (RegExp | string)[]
  /** `submission`: one's own relay, so its limits speak of one's account, not of a recipient's provider. @default 'receiver' */
  readonly role?: 'receiver' | 'submission'
  /** The provider's page for postmasters, given with its verdicts. */
  readonly url?: string
  /** One lane for all its domains. @default one lane per domain */
  readonly lane?: string
  /** Recipients per time. @default the built-in policy's, else '10/s' */
  readonly rate?: Rate
  /** Recipients that may go at once after a rest. @default what `rate` allows in 5 s, at least 1 */
  readonly burst?: number
  /** Further rolling windows beside the rate, as `['500/h', '5000/d']`; never more in any stretch of that length. @default none */
  readonly caps?: Rate | readonly Rate[]
  /** Attempts under way at a time. @default the built-in policy's, else 10 */
  readonly concurrency?: number
  /** Messages per connection (direct delivery). @default as the replies teach */
  readonly messagesPerConnection?: number
  /** How long mail to these recipients is tried. @default the mailer's */
  readonly ttl?: Duration
  /** Waits after a refusal whose reaction has none of its own. @default 15 min doubling to 4 h, each ±20 % */
  readonly retry?: RetrySchedule
  /** Asked before the built-in ones, in their order; the first that matches decides. */
  readonly rules?: readonly ReplyRule[]
  /** Merged per cause over the default reactions. */
  readonly reactions?: { readonly [C in Cause]?: Reaction }
  /** A slow beginning. @default none */
  readonly warmup?: Warmup
  /** `required`: only over TLS; `verified`: and with a valid certificate (direct delivery). @default 'opportunistic' */
  readonly tls?: 'opportunistic' | 'required' | 'verified'
  /** Escape hatch, asked before all rules; `undefined` means "no opinion". */
  readonly classify?: (reply: Reply, context: ReplyContext) => Partial<Verdict> | undefined
  /** Where the limits come from. */
  readonly source?: string
  /** Day the source was read, `YYYY-MM-DD`. */
  readonly date?: string
}
