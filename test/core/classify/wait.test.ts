// "in 15 minutes" is a wait; "10 in the last 15 minutes" is not.

import { describe, expect, it } from 'vitest'
import { classifyReply } from '../../../src/builtin.ts'

const S = 1_000
const M = 60 * S
const H = 60 * M

const waitOf = (text: string, now?: number) => {
  const verdict = classifyReply(text, now === undefined ? {} : { now })
  return verdict.retryAfterFrom === 'text' ? verdict.retryAfterMs : undefined
}

describe('a wait that the text states', () => {
  it.each([
    ['421 Greylisted - Retry email delivery in 15 minutes.', 15 * M],
    ['421 Rate limit exceeded. Try again in an hour.', H],
    ['421 Rate limit exceeded. Try again in half an hour.', 30 * M],
    ['450 4.2.0 Greylisted for 300 seconds', 300 * S],
    ['450 4.2.0 example.com greylisted for 60 seconds by ZEROSPAM', 60 * S],
    ['550 Too many messages. Try again in 92 seconds.', 92 * S],
    ['451 4.7.1 Greylisting in action, please come back in 00:04:59', 4 * M + 59 * S],
    ['451 Please wait 5 minutes and try again', 5 * M],
    ['451 Please wait at least 10 minutes before retrying', 10 * M],
    ['450 retry after 12 min', 12 * M],
    ['450 4.7.1 try again in 300s', 300 * S],
    ['421 too fast, retry in 1 hour and 5 minutes', H + 5 * M],
    ['421 Your IP is blocked for 24 hours', 24 * H],
    ['451 Bitte versuchen Sie es in 5 Minuten erneut', 5 * M],
    ['451 Bitte in einer Stunde erneut versuchen', H],
    ['450 Veuillez réessayer dans 10 minutes', 10 * M],
    ['450 Intente de nuevo en 15 minutos', 15 * M],
    ['450 Tente novamente em 15 minutos', 15 * M],
    ['450 Riprovare tra 5 minuti', 5 * M],
    ['450 Proszę spróbować ponownie za 5 minut', 5 * M],
    ['450 Попробуйте через 5 минут', 5 * M],
  ])('%s', (text, ms) => {
    expect(waitOf(text)).toBe(ms)
  })
})

describe('no wait', () => {
  it.each([
    '421 You sent 100 messages in the last 10 minutes',
    '451 4.7.1 limit is 20 messages per 10 minutes, try again later',
    '421 Too many messages (10 per 60 seconds) from your host',
    '550 This IP has sent too many messages this hour',
    '421 Please try again in a few hours and reduce the sending rate',
    '450 try again in several minutes',
    'Domain example.com has exceeded the max emails per hour (2/2 (100%)) allowed.',
    '550 message was in the queue for 5 days',
    '421 try again later. Time: (Nov 02 11:59:39), Client: (192.0.2.1)',
    '421 4.4.1 Connection timed out. Total session duration: 00:10:00.0037856',
    '450 4.7.1 exceeded 50 messages within 15 minutes',
    '535 5.7.139 disabled. [MN2PR05CA0004.namprd05.prod.outlook.com 2023-09-12T20:59:57.214Z 08DBB276B7E699C4]',
  ])('%s', (text) => {
    expect(waitOf(text)).toBeUndefined()
  })

  it('in a refusal for good: the wait would not help', () => {
    expect(classifyReply('550 5.1.1 user unknown, do not retry in 5 minutes')).not.toHaveProperty(
      'retryAfterMs',
    )
  })
})

describe('a moment that the text states', () => {
  const now = Date.UTC(2026, 10, 20, 12, 0, 0)
  it.each([
    ['450 try after 12:30 UTC', 30 * M],
    ['450 blocked until 11:00 UTC', 23 * H],
    ['450 4.7.1 deferred, retry after 2026-11-20T12:45:00Z', 45 * M],
    ['450 4.7.1 blocked until 2026-11-20 14:00:00 +01:00', H],
  ])('%s, with the clock given', (text, ms) => {
    expect(waitOf(text, now)).toBe(ms)
  })

  it('is no wait without the clock, nor when it has passed', () => {
    expect(waitOf('450 try after 12:30 UTC')).toBeUndefined()
    expect(waitOf('450 blocked until 2026-11-19T12:00:00Z', now)).toBeUndefined()
  })
})

describe('the wait that a rule knows', () => {
  it('stands in where the text has none, and says so', () => {
    expect(classifyReply('421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred')).toMatchObject({
      retryAfterMs: 2 * H,
      retryAfterFrom: 'rule',
    })
  })
})
