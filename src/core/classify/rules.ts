// Rules as data → a set that finds the first rule a reply fits, quickly: rules are indexed by a word that they
// need, so a reply is held against a handful of them. Not here: which sets are asked in which order (classifier.ts).

import type { ReplyRule } from '../policy.ts'
import { duration } from '../units.ts'
import { alternativesOf, anchorsOf } from './anchor.ts'
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

function conditionsOf({ code, enhanced, phase }: ReplyRule): Test[] {
  return [codeTest(code), enhancedTest(enhanced), phaseTest(phase)].filter((test) => test !== undefined)
}

/** Makes one rule ready. Assumes that its shape was checked; one without a condition fits nothing. */
export function compileRule(rule: ReplyRule, reads: Reads = 'flat'): CompiledRule {
  const text = textTest(rule.text, reads)
  const tests = [...conditionsOf(rule), ...(text === undefined ? [] : [text])]
  return {
    rule,
    retryAfterMs: rule.retryAfter === undefined ? undefined : duration(rule.retryAfter),
    fits: (facts) => tests.length > 0 && tests.every((test) => test(facts)),
  }
}

/** One alternative of a rule's pattern, and the rule it stands for. */
interface Entry {
  readonly rule: CompiledRule
  /** The conditions but the text. */
  readonly applies: Test | undefined
  readonly text: Test | undefined
}

function entriesOf(
  rule: CompiledRule,
  reads: Reads,
): { entry: Entry; keys: ReadonlySet<number> | undefined }[] {
  const { text } = rule.rule
  const conditions = conditionsOf(rule.rule)
  const applies =
    conditions.length === 0 ? undefined : (facts: Facts) => conditions.every((test) => test(facts))
  if (!(text instanceof RegExp))
    return [{ entry: { rule, applies, text: textTest(text, reads) }, keys: undefined }]
  return alternativesOf(text.source).map((source) => ({
    entry: { rule, applies, text: textTest(new RegExp(source, text.flags), reads) },
    keys: anchorsOf(source),
  }))
}

/** Makes an ordered list of rules ready; the first that fits decides. */
export function compileRules(rules: readonly ReplyRule[], reads: Reads = 'flat'): RuleSet {
  const entries: Entry[] = []
  const keysOf: (ReadonlySet<number> | undefined)[] = []
  for (const rule of rules) {
    for (const { entry, keys } of entriesOf(compileRule(rule, reads), reads)) {
      entries.push(entry)
      keysOf.push(keys)
    }
  }
  const words = Math.ceil(entries.length / 32)
  const always = new Uint32Array(words)
  const index = new Map<number, Uint32Array>()
  for (const [at, keys] of keysOf.entries()) {
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
    let passed: CompiledRule | undefined // found, or known not to apply: its other alternatives are skipped
    for (let w = 0; w < words; w++) {
      let bits = candidates[w] ?? 0
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits)
        bits &= bits - 1
        const entry = entries[w * 32 + bit]
        if (entry === undefined || entry.rule === passed) continue
        if (entry.applies !== undefined && !entry.applies(facts)) passed = entry.rule
        else if (entry.text === undefined || entry.text(facts)) {
          if (found(entry.rule)) return
          passed = entry.rule
        }
      }
    }
  }

  return {
    size: rules.length,
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
