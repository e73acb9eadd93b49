// Checks a policy's own rules against the replies they are for: the help a user needs before trusting a new rule.
// Not here: the form of rules (rule-parse.ts) or how they match (classify/rules.ts).

import type { Cause, Persistence, Scope } from './cause.ts'
import { createClassifier } from './classify/classifier.ts'
import { factsOf } from './classify/facts.ts'
import { parseReply } from './classify/parse.ts'
import { compileRules } from './classify/rules.ts'
import type { ProviderPolicy, ReplyRule } from './policy.ts'
import type { Phase } from './reply.ts'
import type { ReplyContext } from './verdict.ts'

/** A reply and what the policy should make of it; what is left out is not checked. */
export interface RuleSample {
  readonly reply: string
  readonly context?: ReplyContext
  /** Id of the rule that should decide; `null`: none of the policy's rules should. */
  readonly rule?: string | null
  readonly cause?: Cause
  readonly persistence?: Persistence
  readonly scope?: Scope
  /** The wait, in ms. */
  readonly retryAfterMs?: number
}

/** What is wrong with a rule. */
export interface RuleProblem {
  /** Id of the rule at fault, where one is. */
  readonly rule?: string
  readonly reply?: string
  /** One sentence: what was expected, and what happened. */
  readonly problem: string
}

/**
 * Checks that every rule matches its samples, that no earlier rule takes them, and that the given samples come out as said.
 * @returns what is wrong; empty when all is well
 */
export function testRules(
  policy: ProviderPolicy,
  samples: readonly RuleSample[] = [],
): readonly RuleProblem[] {
  return [...(policy.rules ?? []).flatMap((rule) => ownSamples(policy, rule)), ...given(policy, samples)]
}

function ownSamples(policy: ProviderPolicy, rule: ReplyRule): RuleProblem[] {
  if (rule.samples === undefined || rule.samples.length === 0)
    return [{ rule: rule.id, problem: `${rule.id}: no sample: give at least one reply that it is for` }]
  const alone = compileRules([rule])
  const all = compileRules(policy.rules ?? [])
  return rule.samples.flatMap((reply): RuleProblem[] => {
    const facts = factsOf(parseReply(reply), { phase: phaseOf(rule) })
    if (alone.first(facts) === undefined)
      return [{ rule: rule.id, reply, problem: `${rule.id}: does not match its sample '${short(reply)}'` }]
    const first = all.first(facts)?.rule.id
    return first === rule.id
      ? []
      : [
          {
            rule: rule.id,
            reply,
            problem: `${rule.id}: never asked about '${short(reply)}': ${first} stands before it`,
          },
        ]
  })
}

// A rule for some phases is tested in one of them.
function phaseOf(rule: ReplyRule): Phase {
  return typeof rule.phase === 'string' ? rule.phase : (rule.phase?.[0] ?? 'unknown')
}

function given(policy: ProviderPolicy, samples: readonly RuleSample[]): RuleProblem[] {
  const classify = createClassifier([], [policy])
  const own = new Set((policy.rules ?? []).map(({ id }) => id))
  return samples.flatMap((sample): RuleProblem[] => {
    const { reply, context = {}, rule } = sample
    const verdict = classify(reply, {
      domain: policy.domains?.[0]?.replace('*.', 'any.') ?? 'example.com',
      ...context,
    })
    const decided = verdict.layer === 'user' ? verdict.rule : null
    const problems: string[] = []
    if (rule === null && decided !== null && own.has(decided))
      problems.push(`expected no rule, got ${decided}`)
    if (typeof rule === 'string' && decided !== rule)
      problems.push(`expected rule ${rule}, got ${decided ?? `none (${verdict.rule})`}`)
    for (const field of ['cause', 'persistence', 'scope', 'retryAfterMs'] as const) {
      const expected = sample[field]
      if (expected !== undefined && verdict[field] !== expected)
        problems.push(`expected ${field} ${expected}, got ${verdict[field] ?? 'none'}`)
    }
    return problems.map((problem) => ({
      ...(decided === null ? {} : { rule: decided }),
      reply,
      problem: `'${short(reply)}': ${problem}`,
    }))
  })
}

function short(reply: string): string {
  const line = reply.replace(/\s+/g, ' ')
  return line.length > 60 ? `${line.slice(0, 59)}…` : line
}
