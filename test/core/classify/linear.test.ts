// Patterns cannot blow up. Every one, in rules and in the classifier's own source, was proved linear by recheck;
// proofs.json keeps the fingerprints of those proved, so that only a new or changed pattern is proved in a test run.
// `UPDATE_PROOFS=1 npx vitest run test/core/classify/linear.test.ts` proves what is new and writes the file;
// `UPDATE_PROOFS=all` proves all again.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { checkSync } from 'recheck'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { alternativesOf } from '../../../src/core/classify/anchor.ts'
import { GENERAL_RULES } from '../../../src/core/classify/general/index.ts'
import { builtinPolicies } from '../../../src/providers/index.ts'

const PROOFS = new URL('proofs.json', import.meta.url)

interface Pattern {
  readonly source: string
  readonly flags: string
  readonly where: string
}

const ruleTexts: readonly (readonly [string, unknown])[] = [
  ...GENERAL_RULES.map((rule) => [rule.id, rule.text] as const),
  ...builtinPolicies.flatMap((policy) => [
    ...(policy.rules ?? []).map((rule) => [rule.id, rule.text] as const),
    ...(policy.marks ?? []).map((mark) => [`${policy.name} mark`, mark] as const),
  ]),
]

// The classifier tries alternatives one by one (rules.ts), so they are proved one by one.
const inRules = ruleTexts.flatMap(([where, text]): Pattern[] =>
  text instanceof RegExp
    ? alternativesOf(text.source).map((source) => ({ source, flags: text.flags, where }))
    : [],
)

const CLASSIFY = fileURLToPath(new URL('../../../src/core/classify/', import.meta.url))

/** The regular expressions written in the classifier's own files. */
const inSource = readdirSync(CLASSIFY)
  .filter((name) => name.endsWith('.ts'))
  .flatMap((name): Pattern[] => {
    const file = ts.createSourceFile(name, readFileSync(CLASSIFY + name, 'utf8'), ts.ScriptTarget.Latest)
    const found: Pattern[] = []
    const visit = (node: ts.Node): void => {
      if (ts.isRegularExpressionLiteral(node)) {
        const end = node.text.lastIndexOf('/')
        found.push({ source: node.text.slice(1, end), flags: node.text.slice(end + 1), where: name })
      }
      ts.forEachChild(node, visit)
    }
    visit(file)
    return found
  })

// A gap of one class, as `[^.]{0,60}`, costs its length and no more; proving a shorter one proves it, and is quick.
function shortGaps(source: string): string {
  return source.replace(
    /(\[[^\]]{1,12}\]|\.|\\[wSd])\{(\d),(\d{2,3})\}/g,
    (_, what, from) => `${what}{${from},6}`,
  )
}

function fingerprint({ source, flags }: Pattern): string {
  return createHash('sha256').update(`${flags}/${source}`).digest('base64url').slice(0, 12)
}

/**
 * The pattern twice, each with half the alternatives of its longest group. What backtracks over `x(?:a|b)y` backtracks
 * over `xay` and then over `xby`, so where both halves are linear, the whole is.
 */
function halves(source: string): string[] {
  const groups = [...source.matchAll(/\(\?:((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*)\)(?![?*+{])/g)]
  const [longest] = groups.sort((a, b) => b[0].length - a[0].length)
  const inside = alternativesOf(longest?.[1] ?? '')
  if (longest === undefined || inside.length < 2) return []
  const middle = inside.length >> 1
  return [inside.slice(0, middle), inside.slice(middle)].map(
    (part) =>
      `${source.slice(0, longest.index)}(?:${part.join('|')})${source.slice(longest.index + longest[0].length)}`,
  )
}

function prove({ source, flags }: Pattern, split = 3): string {
  const { status } = checkSync(shortGaps(source), flags.replace('u', ''), { timeout: 20_000 })
  if (status === 'safe' || split === 0) return status
  const parts = halves(source).map((half) => prove({ source: half, flags, where: '' }, split - 1))
  return parts.length > 0 && parts.every((part) => part === 'safe') ? 'safe' : status
}

const all = [...inRules, ...inSource]

describe('patterns', () => {
  it('have no unbounded repeat in rules, but at the ends of an anchored one', () => {
    const unbounded = inRules.filter(
      ({ source }) =>
        /(?<!\\)(?:\*|\+|\{\d+,\})/.test(source.replace(/\\.|\[[^\]]*\]/g, 'x')) &&
        !/^\^.*\+\$$/.test(source),
    )
    expect(unbounded.map(({ where, source }) => `${where}: ${source}`)).toEqual([])
  })

  it('were all proved linear', { timeout: 600_000 }, () => {
    const update = process.env.UPDATE_PROOFS !== undefined
    const again = process.env.UPDATE_PROOFS === 'all'
    const proved = new Set<string>(again ? [] : JSON.parse(readFileSync(PROOFS, 'utf8')))
    const failures: string[] = []
    const next = new Set<string>()
    for (const pattern of all) {
      const mark = fingerprint(pattern)
      if (!proved.has(mark) && !next.has(mark)) {
        const status = prove(pattern)
        if (status !== 'safe') {
          failures.push(`${pattern.where}: ${status}: ${pattern.source}`)
          continue
        }
      }
      next.add(mark)
    }
    if (update) writeFileSync(PROOFS, `${JSON.stringify([...next].sort(), null, 0).replaceAll(',', ',\n')}\n`)
    expect(failures).toEqual([])
  })

  it('the checker would find one that is not', () => {
    expect(prove({ source: '^(?:a|a)+$', flags: '', where: 'made to fail' })).toBe('vulnerable')
  })
})
