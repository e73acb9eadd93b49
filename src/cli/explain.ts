// `steadymail explain "<reply>"`: what a server's reply means, for a person or as JSON.

import { parseArgs } from 'node:util'
import { classifyReply } from '../builtin.ts'
import { showReply } from '../core/classify/parse.ts'
import { PHASES, type Phase } from '../core/reply.ts'
import { durationText } from '../core/units.ts'
import type { ReplyContext, Verdict } from '../core/verdict.ts'

export const EXPLAIN_USAGE = `steadymail explain "<reply>" [--phase <phase>] [--mx <host>] [--domain <domain>] [--json]

  <reply>    what the server said, as '421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred'
  --phase    when it said so: ${PHASES.join(' ')}
  --mx       the host that said it
  --domain   the recipient's domain
  --json     the verdict as JSON`

/** What a command leaves behind: text for each stream, and the process's exit status. */
export interface CommandResult {
  readonly out?: string
  readonly err?: string
  readonly status: 0 | 1 | 2
}

/**
 * Runs `explain` with the arguments that follow it.
 * @returns status 0 with the explanation, 2 with what is wrong and how it is used
 */
export function explain(args: readonly string[]): CommandResult {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(args)
  } catch (error) {
    return misuse(error instanceof Error ? error.message : String(error))
  }
  const { values, positionals } = parsed
  if (values.help === true) return { out: EXPLAIN_USAGE, status: 0 }
  const reply = positionals.join(' ').replaceAll('\\n', '\n').trim()
  if (reply === '') return misuse('expected a reply to explain, got none')
  if (positionals.length > 1)
    return misuse(
      `expected one reply in quotes, got ${positionals.length} arguments: put quotes around the reply`,
    )
  const { phase, mx, domain } = values
  if (phase !== undefined && !isPhase(phase))
    return misuse(`--phase: expected one of ${PHASES.join(', ')}, got '${phase}'`)
  const context: ReplyContext = {
    ...(phase === undefined ? {} : { phase }),
    ...(mx === undefined ? {} : { mx }),
    ...(domain === undefined ? {} : { domain }),
  }
  const verdict = classifyReply(reply, context)
  return { out: values.json === true ? JSON.stringify(verdict, null, 2) : inWords(reply, verdict), status: 0 }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      phase: { type: 'string' },
      mx: { type: 'string' },
      domain: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
}

function isPhase(text: string): text is Phase {
  return (PHASES as readonly string[]).includes(text)
}

function misuse(problem: string): CommandResult {
  return { err: `steadymail explain: ${problem}\n\n${EXPLAIN_USAGE}`, status: 2 }
}

const ABOUT: { readonly [S in Verdict['scope']]: string } = {
  message: 'this message',
  recipient: 'this recipient',
  connection: 'this connection',
  lane: 'your mail to this provider',
  sender: 'your account or From domain, at every provider',
}

function inWords(reply: string, verdict: Verdict): string {
  const { cause, persistence, scope, retryAfterMs, retryAfterFrom, provider, rule, layer, advice, url } =
    verdict
  const lines: readonly (readonly [string, string | undefined])[] = [
    ['reply', showReply(reply, 300)],
    [
      'meaning',
      `${cause}, ${persistence === 'transient' ? 'for now: the same message may pass later' : 'for good: the same message will not pass'}`,
    ],
    ['about', ABOUT[scope]],
    [
      'wait',
      retryAfterMs === undefined
        ? undefined
        : `${durationText(retryAfterMs)} (${retryAfterFrom === 'text' ? 'the reply says so' : 'what is known of this provider'})`,
    ],
    ['waiting', verdict.waitingHelps ? 'helps' : 'alone does not help'],
    ['do', advice],
    ['see', url],
    ['provider', provider],
    ['rule', `${rule} (${layer})`],
  ]
  return lines
    .flatMap(([name, text]) => (text === undefined ? [] : [`${`${name}:`.padEnd(10)}${text}`]))
    .join('\n')
}
