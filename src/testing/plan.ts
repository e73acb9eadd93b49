// What a simulation is given: policies to try, receivers to meet, mail to send. Plain data, so that a plan can be JSON.
// Checked once, with the path in every error. Not here: running it (simulate.ts).

import { fields, list, oneOf, optional, span, whole, word } from '../core/check.ts'
import { badOption } from '../core/error.ts'
import { PRIORITIES, type PriorityName } from '../core/message.ts'
import type { ProviderPolicy } from '../core/policy.ts'
import { DAY, type Duration, duration } from '../core/units.ts'
import type { EgressOptions } from '../options.ts'
import { type Receiver, type ReceiverSpec, receiver } from './models.ts'

/** A receiver and the domains it answers for. */
export interface SimulatedProvider {
  readonly name: string
  readonly domains: readonly string[]
  readonly receiver: ReceiverSpec | readonly ReceiverSpec[]
  /** How long an accepted transaction takes, on average. A refused one takes a tenth of it. @default '400ms' */
  readonly took?: Duration
}

/** Mail to one domain, each message to a mailbox of its own. */
export interface Traffic {
  readonly to: string
  readonly messages: number
  /** When the first is sent, counted from the start. @default '0s' */
  readonly from?: Duration
  /** The messages are spread evenly over so long; 0 sends all at once. @default 0 */
  readonly over?: Duration
  /** @default 'normal' */
  readonly priority?: PriorityName
  /** @default 'news@sender.example' */
  readonly sender?: string
}

/** A whole simulation. */
export interface Plan {
  /** As given to `wrapTransport`. @default [] */
  readonly policies?: readonly ProviderPolicy[]
  /** Domains that no provider answers for take everything. */
  readonly providers: readonly SimulatedProvider[]
  readonly traffic: readonly Traffic[]
  /** Simulated at most; ends sooner when all mail has ended. @default 5 */
  readonly days?: number
  /** Of jitter and latency: the same seed gives the same run. @default 1 */
  readonly seed?: number
  /** As given to `wrapTransport`. */
  readonly egress?: EgressOptions
  /** @default '5d' */
  readonly ttl?: Duration
  /** Whether the replies come from the recipients' MX or from one's own relay. @default 'direct' */
  readonly route?: 'direct' | 'relay'
}

export interface PreparedProvider {
  readonly name: string
  readonly receiver: Receiver
  readonly tookMs: number
}

/** A message about to be sent. */
export interface Due {
  readonly at: number
  readonly from: string
  readonly to: string
  readonly priority: PriorityName
}

export interface PreparedPlan {
  readonly plan: Plan
  readonly byDomain: ReadonlyMap<string, PreparedProvider>
  /** In the order of time. */
  readonly due: readonly Due[]
  readonly lengthMs: number
  readonly seed: number
}

const PLAN_KEYS = ['policies', 'providers', 'traffic', 'days', 'seed', 'egress', 'ttl', 'route']
const PROVIDER_KEYS = ['name', 'domains', 'receiver', 'took']
const TRAFFIC_KEYS = ['to', 'messages', 'from', 'over', 'priority', 'sender']
export const DEFAULT_TOOK_MS = 400
const DEFAULT_SENDER = 'news@sender.example'

/**
 * Checks a plan and makes its receivers. Policies, egress and TTL are checked by `wrapTransport`.
 * @param start epoch ms of the simulation's beginning
 * @throws {SteadymailError} `BAD_OPTION`, naming the path
 */
export function preparePlan(plan: Plan, start: number): PreparedPlan {
  const given = fields(plan, '', PLAN_KEYS, 'a plan')
  const byDomain = new Map<string, PreparedProvider>()
  list(given.providers, 'providers', 'a list of providers').forEach((one, i) => {
    const path = `providers[${i}]`
    const provider = fields(one, path, PROVIDER_KEYS, 'a provider')
    const prepared = {
      name: word(provider.name, `${path}.name`),
      receiver: receiver(provider.receiver as ReceiverSpec, start, `${path}.receiver`),
      tookMs: optional(provider.took, (took) => span(took, `${path}.took`)) ?? DEFAULT_TOOK_MS,
    }
    for (const domain of list(provider.domains, `${path}.domains`, 'a list of domains'))
      byDomain.set(word(domain, `${path}.domains`).toLowerCase(), prepared)
  })
  const due: Due[] = []
  list(given.traffic, 'traffic', 'a list of traffic').forEach((one, i) => {
    due.push(...dueOf(fields(one, `traffic[${i}]`, TRAFFIC_KEYS, 'traffic'), `traffic[${i}]`, i, start))
  })
  if (due.length === 0) throw badOption('traffic', 'at least one message', given.traffic)
  const days = given.days ?? 5
  if (typeof days !== 'number' || !(days > 0 && days <= 60))
    throw badOption('days', 'a number up to 60', days)
  const seed = optional(given.seed, (seed) => whole(seed, 'seed', 0)) ?? 1
  optional(given.route, (route) => oneOf(route, 'route', ['direct', 'relay']))
  due.sort((a, b) => a.at - b.at)
  return { plan, byDomain, due, lengthMs: days * DAY, seed }
}

function dueOf(given: Record<string, unknown>, path: string, index: number, start: number): Due[] {
  const domain = word(given.to, `${path}.to`).toLowerCase()
  const messages = whole(given.messages, `${path}.messages`)
  const from = start + time(given.from, `${path}.from`)
  const over = time(given.over, `${path}.over`)
  const priority = optional(given.priority, (one) => oneOf(one, `${path}.priority`, PRIORITIES)) ?? 'normal'
  const sender = optional(given.sender, (one) => word(one, `${path}.sender`)) ?? DEFAULT_SENDER
  return Array.from({ length: messages }, (_, n) => ({
    at: Math.round(from + (over * n) / messages),
    from: sender,
    to: `r${index}-${n}@${domain}`,
    priority,
  }))
}

function time(given: unknown, path: string): number {
  return given === undefined ? 0 : duration(given as string | number, path)
}
