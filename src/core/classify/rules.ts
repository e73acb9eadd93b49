// Rules as data → a set that finds the first rule a reply fits, quickly: rules are indexed by a word that they
// need, so a reply is held against a handful of them. Not here: which sets are asked in which order (classifier.ts).

import type { ReplyRule } from '../policy.ts'
import { duration } from '../units.ts'
import { anchorsOf } from './anchor.ts'
import type { Facts } from './facts.ts'

export interface CompiledRule {
  readonly rule: ReplyRule
  readonly retryAfterMs: number | undefined
  readonly fits: (facts: Facts) => boolean
}

export interface RuleSet {
  readonly size: number
  /** The first rule, in the order given, that the reply fits. */
  readonly first: (facts: Facts) => CompiledRule | undefined
  /** All rules that the reply fits, in order. */
  readonly all: (facts: Facts) => CompiledRule[]
}

/** Which form of the text patterns read: as the server sent it, or folded (see facts.ts). */
export type Reads = 'flat' | 'folded'

type Test = (facts: Facts) => boolean

function codeTest(code: ReplyRule['code']): Test | undefined {
  if (code === undefined) return undefined
  if (code === '4xx') return (facts) => classOf(facts) === 4
  if (code === '5xx') return (facts) => classOf(facts) === 5
  const codes = new Set(typeof code === 'number' ? [code] : code)
  return (facts) => facts.code !== undefined && codes.has(facts.code)
}

/** 4 or 5: the class of the basic code, or where there is none of the enhanced code. */
export function classOf(facts: Facts): 4 | 5 | undefined {
  if (facts.code !== undefined && facts.code >= 400) return facts.code >= 500 ? 5 : 4
  const first = facts.enhanced?.[0]
  return first === '4' ? 4 : first === '5' ? 5 : undefined
}

function enhancedTest(enhanced: ReplyRule['enhanced']): Test | undefined {
  if (enhanced === undefined) return undefined
  const forms = (typeof enhanced === 'string' ? [enhanced] : enhanced).map((form) => form.split('.'))
  return (facts) => {
    if (facts.enhanced === undefined) return false
    const parts = facts.enhanced.split('.')
    return forms.some((form) => form.every((part, at) => part === '*' || part === parts[at]))
  }
}

function phaseTest(phase: ReplyRule['phase']): Test | undefined {
  if (phase === undefined) return undefined
  const phases = new Set(typeof phase === 'string' ? [phase] : phase)
  return (facts) => phases.has(facts.phase)
}

function textTest(text: ReplyRule['text'], reads: Reads): Test | undefined {
  if (text === undefined) return undefined
  if (typeof text === 'string') {
    const words = text.toLowerCase().replace(/\s+/g, ' ')
    return (facts) => facts.flat.toLowerCase().includes(words)
  }
  if (reads === 'folded') return (facts) => text.test(facts.folded)
  return (facts) => text.test(facts.flat)
}

/** Makes one rule ready. Assumes that its shape was checked. */
export function compileRule(rule: ReplyRule, reads: Reads = 'flat'): CompiledRule {
  const tests = [
    codeTest(rule.code),
    enhancedTest(rule.enhanced),
    phaseTest(rule.phase),
    textTest(rule.text, reads),
  ].filter((test): test is Test => test !== undefined)
  const [a, b, c, d] = tests
  const fits: Test =
    a === undefined
      ? () => false
      : b === undefined
        ? a
        : c === undefined
          ? (facts) => a(facts) && b(facts)
          : (facts) => a(facts) && b(facts) && c(facts) && (d === undefined || d(facts))
  return {
    rule,
    retryAfterMs: rule.retryAfter === undefined ? undefined : duration(rule.retryAfter),
    fits,
  }
}

/** Makes an ordered list of rules ready; the first that fits decides. */
export function compileRules(rules: readonly ReplyRule[], reads: Reads = 'flat'): RuleSet {
  const compiled = rules.map((rule) => compileRule(rule, reads))
  const words = Math.ceil(compiled.length / 32)
  const always = new Uint32Array(words)
  const index = new Map<number, Uint32Array>()
  for (const [at, { rule }] of compiled.entries()) {
    const keys = rule.text instanceof RegExp ? anchorsOf(rule.text.source) : undefined
    if (keys === undefined) mark(always, at)
    else {
      for (const key of keys) {
        let mask = index.get(key)
        if (mask === undefined) {
          mask = new Uint32Array(words)
          index.set(key, mask)
        }
        mark(mask, at)
      }
    }
  }
  const candidates = new Uint32Array(words)

  const visit = (facts: Facts, found: (rule: CompiledRule) => boolean): void => {
    candidates.set(always)
    for (const key of facts.keys) {
      const mask = index.get(key)
      if (mask !== undefined)
        for (let w = 0; w < words; w++) candidates[w] = (candidates[w] ?? 0) | (mask[w] ?? 0)
    }
    for (let w = 0; w < words; w++) {
      let bits = candidates[w] ?? 0
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits)
        bits &= bits - 1
        const rule = compiled[w * 32 + bit]
        if (rule?.fits(facts) && found(rule)) return
      }
    }
  }

  return {
    size: compiled.length,
    first(facts) {
      let first: CompiledRule | undefined
      visit(facts, (rule) => {
        first = rule
        return true
      })
      return first
    },
    all(facts) {
      const all: CompiledRule[] = []
      visit(facts, (rule) => {
        all.push(rule)
        return false
      })
      return all
    },
  }
}

function mark(mask: Uint32Array, at: number): void {
  mask[at >> 5] = (mask[at >> 5] ?? 0) | (1 << (at & 31))
}
