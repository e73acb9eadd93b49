// Scores a classifier against labelled replies: persistence, acceptable cause and scope, waits right and invented.

import { readFileSync } from 'node:fs'
import type { Phase } from '../../src/core/reply.ts'
import type { ReplyContext, Verdict } from '../../src/core/verdict.ts'

export interface Labelled {
  readonly id: string
  readonly reply: string
  readonly phase: Phase
  readonly mx: string | undefined
  readonly cause: string
  readonly persistence: string
  readonly provider: string
  readonly waitMs: number | undefined
  readonly causes: readonly string[]
  readonly scopes: readonly string[]
}

/** Reads a TSV with the columns of replies.tsv; `\n` in a reply is a line break. */
export function readLabelled(file: string | URL): Labelled[] {
  const [head = '', ...rows] = readFileSync(file, 'utf8').trimEnd().split('\n')
  const columns = head.split('\t')
  return rows.map((row) => {
    const cells = row.split('\t')
    const cell = (name: string) => cells[columns.indexOf(name)] ?? ''
    const wait = cell('retry_after_s')
    return {
      id: cell('id'),
      reply: cell('reply').replaceAll('\\n', '\n'),
      phase: (cell('phase') || 'unknown') as Phase,
      mx: cell('mx_hint') || undefined,
      cause: cell('cause'),
      persistence: cell('persistence'),
      provider: cell('provider'),
      waitMs: wait === '' ? undefined : Number(wait) * 1000,
      causes: (cell('acceptable_causes') || cell('cause')).split('|'),
      scopes: (cell('acceptable_scopes') || cell('scope')).split('|'),
    }
  })
}

export interface Judged {
  readonly labelled: Labelled
  readonly verdict: Verdict
  readonly persistence: boolean
  readonly cause: boolean
  readonly scope: boolean
  /** Undefined where neither label nor verdict has a wait that the text states. */
  readonly wait: 'right' | 'wrong' | 'missed' | 'invented' | undefined
}

export type Judge = (reply: string, context: ReplyContext) => Verdict

/** Classifies each reply with its phase and MX host, or without both, and compares. */
export function judge(
  labelled: readonly Labelled[],
  classify: Judge,
  knows: 'context' | 'text' = 'context',
): Judged[] {
  return labelled.map((one) => {
    const context =
      knows === 'text' ? {} : { phase: one.phase, ...(one.mx === undefined ? {} : { mx: one.mx }) }
    const verdict = classify(one.reply, context)
    const stated = verdict.retryAfterFrom === 'text' ? verdict.retryAfterMs : undefined
    return {
      labelled: one,
      verdict,
      persistence: verdict.persistence === one.persistence,
      cause: one.causes.includes(verdict.cause),
      scope: one.scopes.includes(verdict.scope),
      wait:
        one.waitMs === undefined
          ? stated === undefined
            ? undefined
            : 'invented'
          : stated === undefined
            ? 'missed'
            : stated === one.waitMs
              ? 'right'
              : 'wrong',
    }
  })
}

export interface Score {
  readonly replies: number
  readonly persistence: number
  readonly cause: number
  readonly scope: number
  readonly waitsStated: number
  readonly waitsRight: number
  readonly waitsInvented: number
}

export function score(judged: readonly Judged[]): Score {
  const count = (test: (one: Judged) => boolean) => judged.filter(test).length
  return {
    replies: judged.length,
    persistence: count((one) => one.persistence),
    cause: count((one) => one.cause),
    scope: count((one) => one.scope),
    waitsStated: count((one) => one.labelled.waitMs !== undefined),
    waitsRight: count((one) => one.wait === 'right'),
    waitsInvented: count((one) => one.wait === 'invented'),
  }
}
