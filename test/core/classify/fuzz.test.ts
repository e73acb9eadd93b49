// Hostile text: never an exception, always a whole verdict, always quickly.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { classifyReply } from '../../../src/builtin.ts'
import { CAUSES, SCOPES } from '../../../src/core/cause.ts'
import { factsOf } from '../../../src/core/classify/facts.ts'
import { GENERAL_RULES } from '../../../src/core/classify/general/index.ts'
import { parseReply } from '../../../src/core/classify/parse.ts'
import { compileRule, compileRules } from '../../../src/core/classify/rules.ts'
import { PHASES } from '../../../src/core/reply.ts'
import type { Verdict } from '../../../src/core/verdict.ts'
import { readLabelled } from '../../accuracy/score.ts'

const labelled = readLabelled(new URL('../../accuracy/replies.tsv', import.meta.url))
const phrase = fc.constantFrom(
  'too many ',
  'try again in ',
  '5 minutes ',
  'user unknown ',
  'your ip ',
  '<a@b.c> ',
  '192.0.2.1 ',
  'https://x.y/z ',
  'blocked ',
  'exceeded ',
  'quota ',
  '\n550-',
  '[TSS04] ',
  '5.7.1 ',
  '00:04:59 ',
  'host x said: ',
  '\u0000',
  '\u202e',
  'ü',
  '请',
)
const text = fc.oneof(
  fc.string({ maxLength: 300 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.array(phrase, { maxLength: 60 }).map((parts) => parts.join('')),
  fc
    .tuple(fc.integer({ min: 200, max: 999 }), fc.array(phrase, { maxLength: 30 }))
    .map(([code, parts]) => `${code} ${parts.join('')}`),
  fc
    .tuple(fc.constantFrom(...labelled.map(({ reply }) => reply)), fc.nat(400))
    .map(([reply, at]) => reply.slice(0, at) + reply.slice(at + 3)),
)

function whole(verdict: Verdict): void {
  expect(CAUSES).toContain(verdict.cause)
  expect(SCOPES).toContain(verdict.scope)
  expect(['transient', 'permanent']).toContain(verdict.persistence)
  expect(verdict.rule).not.toBe('')
  expect(verdict.advice).not.toBe('')
  if (verdict.retryAfterMs !== undefined) expect(verdict.retryAfterMs).toBeGreaterThan(0)
  if (verdict.persistence === 'permanent') expect(verdict.waitingHelps).toBe(false)
}

describe('any text', () => {
  it('gives a whole verdict', () => {
    fc.assert(
      fc.property(
        text,
        fc.constantFrom(...PHASES),
        fc.option(fc.domain(), { nil: undefined }),
        (reply, phase, mx) => {
          whole(classifyReply(reply, { phase, ...(mx === undefined ? {} : { mx }), now: 1_790_000_000_000 }))
        },
      ),
      { numRuns: 3_000 },
    )
  })

  it('gives the same verdict every time', () => {
    fc.assert(
      fc.property(text, (reply) => {
        expect(classifyReply(reply)).toEqual(classifyReply(reply))
      }),
      { numRuns: 500 },
    )
  })

  it('as a Reply with odd fields too', () => {
    fc.assert(
      fc.property(
        fc.record({
          code: fc.option(fc.integer(), { nil: undefined }),
          enhanced: fc.option(fc.string(), { nil: undefined }),
          errno: fc.option(fc.string(), { nil: undefined }),
          text,
        }),
        ({ code, enhanced, errno, text: said }) => {
          whole(
            classifyReply({
              ...(code === undefined ? {} : { code }),
              ...(enhanced === undefined ? {} : { enhanced }),
              ...(errno === undefined ? {} : { errno }),
              text: said,
              phase: 'unknown',
            }),
          )
        },
      ),
      { numRuns: 1_000 },
    )
  })
})

describe('the index', () => {
  // What the index leaves out must not have matched: it only spares work.
  it('finds the rule that asking each in turn would find', () => {
    const indexed = compileRules(GENERAL_RULES, 'folded')
    const each = GENERAL_RULES.map((rule) => compileRule(rule, 'folded'))
    const same = (reply: string) => {
      const facts = factsOf(parseReply(reply), {})
      expect(indexed.first(facts)?.rule.id, reply).toBe(each.find(({ fits }) => fits(facts))?.rule.id)
    }
    for (const { reply } of labelled) same(reply)
    for (const rule of GENERAL_RULES) for (const sample of rule.samples ?? []) same(sample)
    fc.assert(fc.property(text, same), { numRuns: 1_500 })
  })
})

describe('64 KiB of hostile text', () => {
  it.each([
    ['one word', 'a'.repeat(65_536)],
    ['codes', '550-5.7.1 '.repeat(6_554)],
    ['lines', `550 ${'\n550-'.repeat(13_106)}`],
    ['open addresses', `550 ${'<a@'.repeat(21_844)}`],
    ['open tags', `451 ${'<p '.repeat(21_843)}`],
    ['half a phrase', `550 ${'too many '.repeat(7_280)}`],
    ['subjects without an end', `550 ${'user recipient mailbox account '.repeat(2_114)}`],
    ['numbers', `450 ${'again in 5 '.repeat(5_957)}`],
  ])('%s takes a few milliseconds at most, on a busy machine too', (_what, hostile) => {
    classifyReply(hostile)
    let best = Number.POSITIVE_INFINITY
    for (let round = 0; round < 10; round++) {
      const from = performance.now()
      whole(classifyReply(hostile))
      best = Math.min(best, performance.now() - from)
    }
    expect(best).toBeLessThan(5)
  })
})
