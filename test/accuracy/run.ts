// `npm run accuracy [-- file.tsv] [--failures] [--general] [--text]`: how well the classifier does on labelled replies.
// --failures lists each miss; --general leaves the providers' own rules out; --text gives neither phase nor host.

import { builtinPolicies, classifyReply } from '../../src/builtin.ts'
import { createClassifier } from '../../src/core/classify/classifier.ts'
import { type Judged, judge, readLabelled, score } from './score.ts'

const args = process.argv.slice(2)
const flags = new Set(args.filter((arg) => arg.startsWith('--')))
const file = args.find((arg) => !arg.startsWith('--')) ?? new URL('replies.tsv', import.meta.url)

const bare = createClassifier(builtinPolicies.map(({ rules: _, ...policy }) => policy))
const judged = judge(
  readLabelled(file),
  flags.has('--general') ? bare : classifyReply,
  flags.has('--text') ? 'text' : 'context',
)

const percent = (part: number, whole: number) =>
  whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`

function row(name: string, group: readonly Judged[]): string {
  const s = score(group)
  return [
    name.padEnd(24),
    String(s.replies).padStart(5),
    percent(s.persistence, s.replies).padStart(12),
    percent(s.cause, s.replies).padStart(9),
    percent(s.scope, s.replies).padStart(9),
    `${s.waitsRight}/${s.waitsStated}`.padStart(7),
    String(s.waitsInvented).padStart(9),
  ].join(' ')
}

function table(title: string, key: (one: Judged) => string): void {
  const groups = groupBy(key)
  console.log(`\n${title.padEnd(24)}     n  persistence     cause     scope   waits  invented`)
  for (const [name, group] of [...groups].sort((a, b) => b[1].length - a[1].length))
    console.log(row(name, group))
}

function groupBy(key: (one: Judged) => string): Map<string, Judged[]> {
  const groups = new Map<string, Judged[]>()
  for (const one of judged) groups.set(key(one), [...(groups.get(key(one)) ?? []), one])
  return groups
}

table('by cause', (one) => one.labelled.cause)
table('by provider', (one) => one.labelled.provider)
table('by layer', (one) => one.verdict.layer)
console.log(`\n${row('all', judged)}`)

if (flags.has('--failures')) {
  for (const { labelled, verdict, ...right } of judged) {
    if (
      right.persistence &&
      right.cause &&
      right.scope &&
      (right.wait === undefined || right.wait === 'right')
    )
      continue
    const said = [
      right.cause ? '' : `cause ${verdict.cause}, not ${labelled.causes.join('|')}`,
      right.persistence ? '' : `${verdict.persistence}, not ${labelled.persistence}`,
      right.scope ? '' : `scope ${verdict.scope}, not ${labelled.scopes.join('|')}`,
      right.wait === undefined || right.wait === 'right'
        ? ''
        : `wait ${right.wait} ${verdict.retryAfterMs ?? ''}`,
    ].filter((part) => part !== '')
    console.log(
      `\n${labelled.id} [${verdict.rule}] ${said.join('; ')}\n  ${labelled.phase} ${labelled.mx ?? ''} ${labelled.reply.replaceAll('\n', '\\n').slice(0, 300)}`,
    )
  }
}
