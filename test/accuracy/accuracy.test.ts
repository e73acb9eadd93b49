// The classifier against replies labelled by hand: what `npm run accuracy` prints may not get worse unnoticed.

import { describe, expect, it } from 'vitest'
import { classifyReply } from '../../src/builtin.ts'
import { judge, readLabelled, type Score, score } from './score.ts'

const share = (scored: Score, what: 'persistence' | 'cause' | 'scope') => scored[what] / scored.replies
const read = (name: string) => readLabelled(new URL(name, import.meta.url))

describe.each([
  { file: 'replies.tsv', persistence: 0.99, cause: 0.97, scope: 0.97 },
  { file: 'more.tsv', persistence: 0.99, cause: 0.97, scope: 0.97 },
  { file: 'mta.tsv', persistence: 0.98, cause: 0.95, scope: 0.97 },
  { file: 'forums.tsv', persistence: 0.98, cause: 0.95, scope: 0.97 },
  { file: 'logs.tsv', persistence: 0.98, cause: 0.95, scope: 0.97 },
])('$file', ({ file, persistence, cause, scope }) => {
  const labelled = read(file)
  const known = score(judge(labelled, classifyReply))

  it('persistence, cause and scope come out as labelled', () => {
    expect(share(known, 'persistence')).toBeGreaterThanOrEqual(persistence)
    expect(share(known, 'cause')).toBeGreaterThanOrEqual(cause)
    expect(share(known, 'scope')).toBeGreaterThanOrEqual(scope)
  })

  it('every stated wait is read, and none is invented', () => {
    expect(known.waitsRight).toBe(known.waitsStated)
    expect(known.waitsInvented).toBe(0)
  })

  it('the text alone, without phase and host, is nearly as good', () => {
    const bare = score(judge(labelled, classifyReply, 'text'))
    expect(share(bare, 'persistence')).toBeGreaterThanOrEqual(0.97)
    expect(share(bare, 'cause')).toBeGreaterThanOrEqual(0.92)
    expect(share(bare, 'scope')).toBeGreaterThanOrEqual(0.92)
    expect(bare.waitsInvented).toBe(0)
  })
})

it('the first digit alone would do worse', () => {
  const labelled = read('replies.tsv')
  const digit = labelled.filter(
    ({ reply, persistence }) => (/^\D*4/.test(reply) ? 'transient' : 'permanent') === persistence,
  )
  expect(digit.length / labelled.length).toBeLessThan(0.95)
})
