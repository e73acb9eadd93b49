// Walks every built-in and general rule: its samples match it, no rule before it takes them, it says where it comes
// from, and without it at least one of its samples would come out differently.

import { describe, expect, it } from 'vitest'
import { createClassifier } from '../../../src/core/classify/classifier.ts'
import { ENHANCED_RULES } from '../../../src/core/classify/enhanced.ts'
import { factsOf } from '../../../src/core/classify/facts.ts'
import { GENERAL_RULES } from '../../../src/core/classify/general/index.ts'
import { parseReply } from '../../../src/core/classify/parse.ts'
import { compileRule, compileRules } from '../../../src/core/classify/rules.ts'
import type { ReplyRule } from '../../../src/core/policy.ts'
import type { Phase } from '../../../src/core/reply.ts'
import { testRules } from '../../../src/core/test-rules.ts'
import { builtinPolicies } from '../../../src/providers/index.ts'

function phaseOf(rule: ReplyRule): Phase {
  return typeof rule.phase === 'string' ? rule.phase : (rule.phase?.[0] ?? 'unknown')
}

const everyRule = [
  ...builtinPolicies.flatMap((policy) => (policy.rules ?? []).map((rule) => ({ owner: policy.name, rule }))),
  ...GENERAL_RULES.map((rule) => ({ owner: 'general', rule })),
  ...ENHANCED_RULES.map((rule) => ({ owner: 'enhanced', rule })),
]

describe('every rule', () => {
  it('there are enough of them to be worth the name', () => {
    expect(everyRule.length).toBeGreaterThan(350)
  })

  it.each(everyRule)('$owner: $rule.id says where it comes from and has a sample', ({ rule }) => {
    expect(rule.source).toMatch(/\S{3}/)
    expect(rule.date).toMatch(/^20\d\d-\d\d-\d\d$/)
    expect(rule.samples?.length).toBeGreaterThan(0)
    expect(rule.id).toMatch(/^[a-z0-9]+(?:-[a-z0-9]+)*$/)
    if (rule.text instanceof RegExp) expect(rule.text.flags).toMatch(/^i?$/)
  })

  it('no two rules of one list share an id', () => {
    for (const list of [
      ...builtinPolicies.map((policy) => policy.rules ?? []),
      GENERAL_RULES,
      ENHANCED_RULES,
    ]) {
      const ids = list.map(({ id }) => id)
      expect(new Set(ids).size).toBe(ids.length)
    }
  })
})

describe('provider rules', () => {
  it.each(builtinPolicies.filter(({ rules }) => rules !== undefined))(
    '$name: each rule takes its own samples',
    (policy) => {
      expect(testRules({ name: policy.name, rules: policy.rules ?? [] })).toEqual([])
    },
  )

  const classify = createClassifier(builtinPolicies)
  it.each(builtinPolicies.flatMap((policy) => (policy.rules ?? []).map((rule) => ({ policy, rule }))))(
    '$policy.name: without $rule.id its sample would come out by another rule',
    ({ policy, rule }) => {
      const without = createClassifier([
        { ...policy, rules: (policy.rules ?? []).filter((other) => other !== rule) },
      ])
      const [sample = ''] = rule.samples ?? []
      const mx = policy.mx?.[0]?.replace('*', 'mx1')
      const context = { phase: phaseOf(rule), ...(mx === undefined ? {} : { mx }) }
      expect(classify(sample, context)).toMatchObject({ rule: rule.id, layer: 'provider', cause: rule.cause })
      expect(without(sample, context).rule).not.toBe(rule.id)
    },
  )
})

describe.each([
  { name: 'general', rules: GENERAL_RULES, reads: 'folded' as const },
  { name: 'enhanced', rules: ENHANCED_RULES, reads: 'flat' as const },
])('$name rules', ({ rules, reads }) => {
  const all = compileRules(rules, reads)
  it.each(rules)('$id takes its own samples', (rule) => {
    for (const sample of rule.samples ?? []) {
      const facts = factsOf(parseReply(sample), { phase: phaseOf(rule) })
      expect(compileRule(rule, reads).fits(facts), sample).toBe(true)
      expect(all.first(facts)?.rule.id, sample).toBe(rule.id)
    }
  })
})
