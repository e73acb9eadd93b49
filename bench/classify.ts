// How many replies one core classifies in a second, on a mix of real ones; and how long a hostile text takes.
// Exported for the main bench; run alone with `npx tsx bench/classify.ts`.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Phase } from '../src/core/reply.ts'

// what is measured is what is published: the built package
const { classifyReply } = (await import(
  new URL('../dist/index.js', import.meta.url).href
)) as typeof import('../src/index.ts')

export interface ClassifyBench {
  readonly verdictsPerSecond: number
  /** Slowest of several 64 KiB texts made to be hard, in ms. */
  readonly hostileMs: number
}

const HOSTILE = [
  'a'.repeat(65_536),
  'a '.repeat(32_768),
  '550 '.repeat(16_384),
  '550-5.7.1 '.repeat(6_554),
  `550 ${'too many '.repeat(7_280)}`,
  `450 ${'again in 5 '.repeat(5_957)}`,
  `421 ${'your ip address '.repeat(4_095)}`,
  `550 ${'<a@'.repeat(21_844)}`,
  `550 ${'192.168.'.repeat(8_191)}`,
  `550 ${'user recipient mailbox account '.repeat(2_114)}`,
  `550 ${'\n550-'.repeat(13_106)}`,
  `451 ${'<p '.repeat(21_843)}`,
  `450 ${'exceeded the maximum number of messages mails '.repeat(1_424)}`,
]

/** Classifies labelled real replies over and over for about `ms` milliseconds. */
export function benchClassify(ms = 2_000): ClassifyBench {
  const file = fileURLToPath(new URL('../test/accuracy/replies.tsv', import.meta.url))
  const replies = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((row) => {
      const [, reply = '', phase, mx] = row.split('\t')
      return {
        reply: reply.replaceAll('\\n', '\n'),
        context: { phase: phase as Phase, ...(mx ? { mx } : {}) },
      }
    })
  for (const { reply, context } of replies) classifyReply(reply, context)
  let verdicts = 0
  // The time our thread ran, not the wall's: other processes share the machine.
  const start = process.cpuUsage()
  let ranMs = 0
  while (ranMs < ms) {
    for (let round = 0; round < 20; round++)
      for (const { reply, context } of replies) classifyReply(reply, context)
    verdicts += 20 * replies.length
    const { user, system } = process.cpuUsage(start)
    ranMs = (user + system) / 1000
  }
  let hostileMs = 0
  for (const text of HOSTILE) {
    let best = Number.POSITIVE_INFINITY
    for (let round = 0; round < 5; round++) {
      const from = performance.now()
      classifyReply(text)
      best = Math.min(best, performance.now() - from)
    }
    hostileMs = Math.max(hostileMs, best)
  }
  return { verdictsPerSecond: Math.round((verdicts / ranMs) * 1000), hostileMs }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { verdictsPerSecond, hostileMs } = benchClassify()
  console.log(`verdicts/s on one core: ${verdictsPerSecond.toLocaleString('en')}`)
  console.log(`slowest hostile 64 KiB text: ${hostileMs.toFixed(2)} ms`)
}
