// The receivers that bench:lanes meets, with what a well-informed policy would state for each.

import type { ProviderPolicy } from '../../src/core/policy.ts'
import type { Scenario } from './world.ts'

export interface Meeting extends Scenario {
  /** Its true limit, as a policy states it. */
  readonly policy: Pick<ProviderPolicy, 'rate' | 'burst' | 'caps' | 'concurrency' | 'reactions'>
  /** The same for a fixed limiter: attempts per ms, and connections. */
  readonly perMs?: number
  readonly connections?: number
}

const MINUTE = 60_000
const HOUR = 3_600_000

export const MEETINGS: readonly Meeting[] = [
  {
    name: 'sliding window, 20/min',
    receiver: { kind: 'sliding-window', limit: '20/min' },
    messages: 3_000,
    tookMs: 500,
    policy: { caps: '20/min' },
    perMs: 20 / MINUTE,
  },
  {
    name: 'sliding window, 500/h',
    receiver: { kind: 'sliding-window', limit: '500/h' },
    messages: 3_000,
    tookMs: 500,
    policy: { caps: '500/h' },
    perMs: 500 / HOUR,
  },
  {
    name: 'token bucket, 2/s, 100 at once',
    receiver: { kind: 'token-bucket', rate: '2/s', burst: 100 },
    messages: 10_000,
    tookMs: 500,
    policy: { rate: '2/s', burst: 100 },
    perMs: 2 / 1_000,
  },
  {
    name: 'counts retries, 300/h',
    receiver: { kind: 'counts-retries', limit: '300/h' },
    messages: 1_500,
    tookMs: 500,
    policy: { caps: '300/h' },
    perMs: 300 / HOUR,
  },
  {
    name: 'at most 3 connections',
    receiver: { kind: 'max-connections', limit: 3 },
    messages: 5_000,
    tookMs: 2_000,
    policy: { concurrency: 3 },
    connections: 3,
  },
  {
    name: 'reputation, 600/h at best',
    receiver: { kind: 'reputation', limit: '600/h' },
    messages: 3_000,
    tookMs: 500,
    policy: { caps: '600/h' },
    perMs: 600 / HOUR,
  },
  {
    name: 'greylist, 5 min',
    receiver: { kind: 'greylist', delay: '5m' },
    messages: 2_000,
    tookMs: 500,
    policy: { reactions: { greylist: { retry: ['5m', '10m'] } } },
  },
  {
    name: 'outage of 2 h, 60/min',
    receiver: [
      { kind: 'outage', from: '5m', lasts: '2h' },
      { kind: 'sliding-window', limit: '60/min' },
    ],
    messages: 5_000,
    tookMs: 500,
    policy: { caps: '60/min' },
    perMs: 60 / MINUTE,
  },
]
