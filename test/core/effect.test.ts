import { describe, expect, it } from 'vitest'
import { CAUSES, type Cause } from '../../src/core/cause.ts'
import { effectOf } from '../../src/core/effect.ts'
import type { Reply } from '../../src/core/reply.ts'
import type { Verdict } from '../../src/core/verdict.ts'
import { bookOf, DAY, MIN, policyOf, replyOf, verdictOf } from './fixtures.ts'

const policy = policyOf()

function spoken(
  route: 'relay' | 'direct',
  cause: Cause,
  reply: Partial<Reply> = {},
  verdict: Partial<Verdict> = {},
): string {
  const { target, kind } = effectOf(replyOf(reply), verdictOf(cause, verdict), route, policy)
  return `${target} ${kind}`
}

describe('directly to MX', () => {
  it('each cause, after RCPT, holds what it speaks of', () => {
    const all = CAUSES.map((cause) => `${cause}: ${spoken('direct', cause)}`)
    expect(all.filter((line) => line.endsWith('throttle'))).toEqual([
      'rate-limit: lane throttle',
      'concurrency: lane throttle',
      'reputation-ip: lane throttle',
      'reputation-domain: sender throttle',
      'blocklist: lane throttle',
      'authentication: sender throttle',
      'reverse-dns: lane throttle',
      'sender-rejected: sender throttle',
      'tls-required: lane throttle',
      'auth-credentials: lane throttle',
      'quota-sender: lane throttle',
      'server-busy: lane throttle',
    ])
    expect(all.filter((line) => line.endsWith('unexplained'))).toEqual([
      'network: lane unexplained',
      'unknown: lane unexplained',
    ])
    expect(all.filter((line) => line.endsWith('answered'))).toHaveLength(CAUSES.length - 14)
  })

  it.each(['greeting', 'ehlo', 'mail', 'rcpt', 'data', 'dot', 'idle'] as const)(
    'a 421 in %s holds the lane',
    (phase) => {
      expect(spoken('direct', 'rate-limit', { code: 421, phase })).toBe('lane throttle')
    },
  )
})

describe('through a relay', () => {
  it.each(['greeting', 'ehlo', 'auth', 'mail', 'idle'] as const)(
    'what is said in %s is about the account',
    (phase) => {
      expect(spoken('relay', 'rate-limit', { code: 421, phase })).toBe('egress throttle')
      expect(spoken('relay', 'server-busy', { code: 421, phase }, { provider: 'gmail' })).toBe(
        'egress throttle',
      )
    },
  )

  it.each(['rcpt', 'data', 'dot'] as const)(
    'a throttle in %s without marks is about the account',
    (phase) => {
      for (const cause of ['rate-limit', 'concurrency', 'server-busy', 'quota-sender'] as const)
        expect(spoken('relay', cause, { phase })).toBe('egress throttle')
    },
  )

  it('a throttle with the marks of a recipient’s provider is about that lane', () => {
    expect(spoken('relay', 'rate-limit', { phase: 'dot' }, { provider: 'yahoo', layer: 'provider' })).toBe(
      'lane throttle',
    )
    const text = '451 4.7.1 host mx.foo.test said: 451 slow down'
    expect(spoken('relay', 'rate-limit', { phase: 'dot', text })).toBe('lane throttle')
    expect(spoken('relay', 'rate-limit', { phase: 'dot' }, { layer: 'user' })).toBe('lane throttle')
  })

  it('that the recipient is at a provider does not make the relay’s own words the provider’s', () => {
    const gmail = bookOf([], [{ name: 'gmail', domains: ['gmail.com'], lane: 'gmail' }]).forDomain(
      'gmail.com',
    )
    const by = (layer: Verdict['layer']) =>
      effectOf(
        replyOf({ phase: 'dot' }),
        verdictOf('rate-limit', { provider: 'gmail', layer }),
        'relay',
        gmail,
      ).target
    expect([by('general'), by('provider')]).toEqual(['egress', 'lane'])
  })

  it('the marks of a submission relay are one’s account’s', () => {
    const ses = { name: 'ses', role: 'submission' as const, rules: [] }
    const withSes = bookOf([], [ses]).forDomain('example.com')
    const verdict = verdictOf('rate-limit', { provider: 'ses', layer: 'provider' })
    expect(effectOf(replyOf({ phase: 'dot' }), verdict, 'relay', withSes).target).toBe('egress')
  })

  it('an unexplained 4xx to a recipient is about its lane, one to MAIL about the account', () => {
    expect(spoken('relay', 'unknown', { phase: 'rcpt' })).toBe('lane unexplained')
    expect(spoken('relay', 'unknown', { phase: 'mail' })).toBe('egress unexplained')
  })

  it('a failing From domain holds that From domain only', () => {
    for (const cause of ['authentication', 'sender-rejected', 'reputation-domain'] as const)
      expect(spoken('relay', cause, { phase: 'mail' })).toBe('sender throttle')
  })

  it('a refused login closes the egress', () => {
    const login = { code: 535, phase: 'auth' } as const
    expect(spoken('relay', 'auth-credentials', login, { persistence: 'permanent' })).toBe('egress throttle')
  })
})

describe('what is about the message or a recipient', () => {
  it('holds nothing, even for a cause that usually does', () => {
    expect(spoken('direct', 'blocklist', {}, { scope: 'message' })).toBe('lane answered')
    expect(spoken('direct', 'rate-limit', {}, { scope: 'recipient' })).toBe('lane answered')
    expect(spoken('relay', 'message-too-large', { phase: 'mail' })).toBe('lane answered')
  })
})

describe('the hold that is called for', () => {
  const reaction = (cause: Cause, reply: Partial<Reply>, verdict: Partial<Verdict> = {}) =>
    effectOf(replyOf(reply), verdictOf(cause, { persistence: 'permanent', ...verdict }), 'direct', policy)

  it('is a day for a listed address refused with 5xx', () => {
    expect(reaction('blocklist', { code: 554, phase: 'rcpt' })).toMatchObject({
      target: 'lane',
      kind: 'throttle',
      reaction: { holdMs: DAY, holdMaxMs: DAY },
    })
  })

  it('is a quarter of an hour for a door closed without a reason', () => {
    expect(reaction('policy-other', { code: 554, phase: 'greeting' }, { scope: 'lane' })).toMatchObject({
      target: 'lane',
      kind: 'throttle',
      reaction: { holdMs: 15 * MIN },
    })
  })

  it('is none for a From domain whose message failed authentication', () => {
    expect(reaction('authentication', { code: 550, phase: 'dot' })).toMatchObject({ kind: 'answered' })
  })

  it('is the shortest where a user wants the rate cut and no hold', () => {
    const mine = policyOf([{ name: 'mine', domains: ['*'], reactions: { 'rate-limit': { hold: 0 } } }])
    expect(effectOf(replyOf(), verdictOf('rate-limit'), 'direct', mine)).toMatchObject({
      kind: 'throttle',
      reaction: { holdMs: 1_000, rateFactor: 0.5 },
    })
    const calm = policyOf([{ name: 'mine', domains: ['*'], reactions: { 'server-busy': { hold: 0 } } }])
    expect(effectOf(replyOf(), verdictOf('server-busy'), 'direct', calm).kind).toBe('answered')
  })
})

describe('a connection', () => {
  it('that cannot be made holds at once; one lost in the middle does when it repeats; one lost while idle never', () => {
    const failure = { text: 'connect ECONNREFUSED', errno: 'ECONNREFUSED' }
    const network = (route: 'relay' | 'direct', phase: Reply['phase']) => {
      const effect = effectOf({ ...failure, phase }, verdictOf('network'), route, policy)
      return `${effect.target} ${effect.kind}`
    }
    expect(network('direct', 'greeting')).toBe('lane throttle')
    expect(network('relay', 'unknown')).toBe('egress throttle')
    expect(network('relay', 'data')).toBe('egress unexplained')
    expect(network('direct', 'data')).toBe('lane unexplained')
    expect(network('direct', 'idle')).toBe('lane answered')
  })
})

it('an accepted recipient is told to the lane', () => {
  expect(effectOf(replyOf({ code: 250 }), undefined, 'relay', policy)).toMatchObject({
    target: 'lane',
    kind: 'accepted',
  })
})
