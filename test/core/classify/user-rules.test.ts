// Users' rules and their escape hatch stand before all built-in knowledge.

import { describe, expect, it } from 'vitest'
import { classifyReply } from '../../../src/builtin.ts'
import { createClassifier } from '../../../src/core/classify/classifier.ts'
import type { ProviderPolicy } from '../../../src/core/policy.ts'
import { testRules } from '../../../src/core/test-rules.ts'
import { builtinPolicies } from '../../../src/providers/index.ts'

const acme = {
  name: 'acme',
  domains: ['acme.com', '*.acme.net'],
  rules: [
    {
      id: 'acme-slow-down',
      code: 421,
      text: /try again later/i,
      cause: 'rate-limit',
      retryAfter: '15m',
      samples: ['421 Try again later'],
    },
    {
      id: 'acme-nope',
      code: '5xx',
      text: 'Go Away',
      cause: 'policy-other',
      scope: 'recipient',
      advice: 'Ask Ann.',
      samples: ['554 go away now'],
    },
    {
      id: 'acme-rcpt',
      enhanced: ['4.7.*'],
      phase: ['rcpt', 'dot'],
      cause: 'greylist',
      samples: ['450 4.7.9 hm'],
    },
  ],
} satisfies ProviderPolicy

describe('user rules', () => {
  const classify = createClassifier(builtinPolicies, [acme])

  it('decide for their domains, by pattern, words, codes and phase', () => {
    expect(classify('421 try again later', { domain: 'acme.com' })).toMatchObject({
      layer: 'user',
      rule: 'acme-slow-down',
      cause: 'rate-limit',
      retryAfterMs: 900_000,
      retryAfterFrom: 'rule',
      provider: 'acme',
    })
    expect(classify('554 GO AWAY', { domain: 'mx.acme.net' })).toMatchObject({
      rule: 'acme-nope',
      scope: 'recipient',
      advice: 'Ask Ann.',
    })
    expect(classify('450 4.7.1 hm', { domain: 'acme.com', phase: 'rcpt' }).rule).toBe('acme-rcpt')
    expect(classify('450 4.7.1 hm', { domain: 'acme.com', phase: 'mail' }).layer).not.toBe('user')
  })

  it('leave other domains alone; a star does not include the domain itself', () => {
    expect(classify('421 try again later', { domain: 'example.com' }).layer).toBe('general')
    expect(classify('421 try again later', { domain: 'acme.net' }).layer).toBe('general')
  })

  it('apply when nothing is known of whom the reply is from', () => {
    expect(classify('421 try again later').rule).toBe('acme-slow-down')
  })

  it('a wait in the text wins over the rule’s', () => {
    expect(classify('421 try again later, in 5 minutes', { domain: 'acme.com' })).toMatchObject({
      retryAfterMs: 300_000,
      retryAfterFrom: 'text',
    })
  })

  it('added to a built-in provider by name, apply to that provider only', () => {
    const more: ProviderPolicy = { name: 'gmail', rules: [{ id: 'mine', code: 421, cause: 'server-busy' }] }
    const both = createClassifier(builtinPolicies, [more])
    expect(both('421 4.7.0 [TSS04] hm', { mx: 'mta5.am0.yahoodns.net' }).rule).toBe('yahoo-tss04')
    expect(both('421 hm', { mx: 'gmail-smtp-in.l.google.com' })).toMatchObject({
      rule: 'mine',
      layer: 'user',
    })
  })

  it('can be given with a single call', () => {
    expect(classifyReply('421 try again later', { domain: 'acme.com', policies: [acme] }).rule).toBe(
      'acme-slow-down',
    )
  })
})

describe('classify, the escape hatch', () => {
  it('is asked before the rules, and what it leaves out is filled in', () => {
    const policy: ProviderPolicy = {
      ...acme,
      classify: (reply) => (reply.code === 421 ? { cause: 'server-busy', retryAfterMs: 5_000 } : undefined),
    }
    const classify = createClassifier(builtinPolicies, [policy])
    expect(classify('421 try again later', { domain: 'acme.com' })).toMatchObject({
      cause: 'server-busy',
      persistence: 'transient',
      scope: 'lane',
      retryAfterMs: 5_000,
      rule: 'acme-classify',
      layer: 'user',
    })
    expect(classify('554 go away', { domain: 'acme.com' }).rule).toBe('acme-nope')
  })
})

describe('testRules', () => {
  it('finds nothing wrong with rules that take their samples', () => {
    expect(testRules(acme)).toEqual([])
  })

  it('names a rule without a sample, one that misses it, and one that is never asked', () => {
    const problems = testRules({
      name: 'broken',
      rules: [
        { id: 'wide', code: '4xx', cause: 'unknown', samples: ['450 x'] },
        { id: 'bare', code: 550, cause: 'unknown' },
        { id: 'misses', code: 450, text: /abc/, cause: 'unknown', samples: ['450 xyz'] },
        { id: 'shadowed', code: 421, cause: 'rate-limit', samples: ['421 slow down'] },
      ],
    })
    expect(problems.map(({ problem }) => problem)).toEqual([
      'bare: no sample: give at least one reply that it is for',
      "misses: does not match its sample '450 xyz'",
      "shadowed: never asked about '421 slow down': wide stands before it",
    ])
  })

  it('checks given replies: rule, cause, scope, wait, or that no rule takes them', () => {
    const problems = testRules(acme, [
      { reply: '421 try again later', rule: 'acme-slow-down', cause: 'rate-limit', retryAfterMs: 900_000 },
      { reply: '450 too fast', rule: null },
      { reply: '421 try again later', rule: null },
      { reply: '554 go away', scope: 'lane' },
    ])
    expect(problems.map(({ problem }) => problem)).toEqual([
      "'421 try again later': expected no rule, got acme-slow-down",
      "'554 go away': expected scope lane, got recipient",
    ])
  })
})
