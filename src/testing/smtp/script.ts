// How a scripted SMTP server is told what to say: functions and rules, tried in order, the first opinion wins.
// Not here: the protocol itself (session.ts), or scripts that behave like known providers (behaviours.ts).

import { badOption } from '../../core/error.ts'

/** What a script is asked about. `body`: a piece of the message arrived; `dot`: all of it did. */
export type SmtpPhase =
  | 'greeting'
  | 'ehlo'
  | 'starttls'
  | 'auth'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'body'
  | 'dot'
  | 'rset'
  | 'noop'
  | 'quit'
  | 'other'

/** The connection an event happened on. */
export interface SmtpSession {
  /** 1 for the server's first connection. */
  readonly id: number
  readonly remoteAddress: string
  readonly openedAt: number
  readonly closedAt: number | undefined
  /** Whether TLS is on. */
  readonly secure: boolean
  /** The login that was accepted. */
  readonly user: string | undefined
  /** What it said in EHLO. */
  readonly clientName: string | undefined
  /** MAIL commands so far, this one included. */
  readonly transactions: number
  /** Messages accepted on it so far. */
  readonly messages: number
}

/** One thing that happened, before it is answered. */
export interface SmtpEvent {
  readonly phase: SmtpPhase
  /** The command line; secrets are masked. Empty for `greeting`, `body` and `dot`. */
  readonly command: string
  readonly session: SmtpSession
  /** Epoch ms, by the server's clock. */
  readonly at: number
  /** Envelope sender, from MAIL on. */
  readonly from: string
  /** The recipient in question: in `rcpt` only. */
  readonly to: string
  /** Recipients accepted so far in this transaction. */
  readonly recipients: readonly string[]
  /** What followed the address in MAIL or RCPT, as `SIZE=1234 BODY=8BITMIME`. */
  readonly params: string
  /** User and whether the server would accept the login: in `auth` only. */
  readonly login: { readonly user: string; readonly correct: boolean } | undefined
  /** Octets of the body so far. */
  readonly size: number
  /** The message: in `dot`, while the server records. */
  readonly message: Buffer | undefined
  /** Connections open now, this one included. */
  readonly open: number
}

/**
 * What the server does. A reply is a code and a text (`'450 4.2.1 Try later'`; further lines after `\n`);
 * a 421 also closes the connection, as RFC 5321 §3.8 has it. `drop` cuts the connection, `hang` says
 * nothing on it ever again, `pass` is no opinion.
 */
export type SmtpAnswer =
  | `${number} ${string}`
  | `${number}-${string}`
  | 'drop'
  | 'hang'
  | 'pass'
  | {
      readonly reply?: string
      /** What follows the reply. @default 'close' after a 421, else 'stay' */
      readonly and?: 'stay' | 'close' | 'drop' | 'hang'
      /** In `dot`: take the message as accepted, whatever is said. */
      readonly deliver?: boolean
    }

/** Asked about everything; `undefined` leaves it to the next script, and at last to a friendly server. */
export type SmtpScriptFunction = (
  event: SmtpEvent,
) => SmtpAnswer | undefined | Promise<SmtpAnswer | undefined>

/** One answer, or a list of them, to what it matches. */
export interface SmtpScriptRule {
  readonly on: SmtpPhase | readonly SmtpPhase[]
  /** Only this recipient; `@example.com` means everybody there. */
  readonly to?: string | RegExp
  /** Only this envelope sender; `@example.com` means everybody there. */
  readonly from?: string | RegExp
  /** Only once this many octets of the body have come. */
  readonly bytes?: number
  /** Let this many matches pass first. @default 0 */
  readonly after?: number
  /** Answer this many, then have no opinion. @default no end; with a list, its length */
  readonly times?: number
  /** A list gives one answer each, in order. */
  readonly answer: SmtpAnswer | readonly SmtpAnswer[]
}

/** A function, a rule, or a list of both: the first with an opinion answers. */
export type SmtpScript = SmtpScriptFunction | SmtpScriptRule | readonly SmtpScript[]

/** Any script as one function. Counting starts anew for each call of this function. */
export function compileScript(script: SmtpScript): SmtpScriptFunction {
  if (typeof script === 'function') return script
  if (isList(script)) return firstOf(script.map(compileScript))
  return compileRule(script)
}

function isList(script: SmtpScript): script is readonly SmtpScript[] {
  return Array.isArray(script)
}

function firstOf(scripts: readonly SmtpScriptFunction[]): SmtpScriptFunction {
  const from = (event: SmtpEvent, start: number): ReturnType<SmtpScriptFunction> => {
    for (let i = start; i < scripts.length; i++) {
      const answer = scripts[i]?.(event)
      if (answer instanceof Promise) {
        return answer.then((said) => (noOpinion(said) ? from(event, i + 1) : said))
      }
      if (!noOpinion(answer)) return answer
    }
    return undefined
  }
  return (event) => from(event, 0)
}

function noOpinion(answer: SmtpAnswer | undefined): boolean {
  return answer === undefined || answer === 'pass'
}

const PHASES: ReadonlySet<string> = new Set<SmtpPhase>([
  'greeting',
  'ehlo',
  'starttls',
  'auth',
  'mail',
  'rcpt',
  'data',
  'body',
  'dot',
  'rset',
  'noop',
  'quit',
  'other',
])

/** @throws SteadymailError `BAD_OPTION` for a phase that does not exist: such a rule would never speak */
function compileRule(rule: SmtpScriptRule): SmtpScriptFunction {
  const phases = new Set(typeof rule.on === 'string' ? [rule.on] : rule.on)
  for (const phase of phases)
    if (!PHASES.has(phase)) throw badOption('script.on', `one of ${[...PHASES].join(', ')}`, phase)
  const answers = isAnswerList(rule.answer) ? rule.answer : undefined
  const single = answers ? undefined : (rule.answer as SmtpAnswer)
  const skip = rule.after ?? 0
  const end = skip + (rule.times ?? answers?.length ?? Number.POSITIVE_INFINITY)
  let seen = 0
  return (event) => {
    if (!phases.has(event.phase)) return undefined
    if (rule.to !== undefined && !matches(rule.to, event.to)) return undefined
    if (rule.from !== undefined && !matches(rule.from, event.from)) return undefined
    if (rule.bytes !== undefined && event.size < rule.bytes) return undefined
    const index = seen++
    if (index < skip || index >= end) return undefined
    return answers ? answers[(index - skip) % answers.length] : single
  }
}

function isAnswerList(answer: SmtpScriptRule['answer']): answer is readonly SmtpAnswer[] {
  return Array.isArray(answer)
}

function matches(pattern: string | RegExp, address: string): boolean {
  if (typeof pattern !== 'string') return pattern.test(address)
  const wanted = pattern.toLowerCase()
  return wanted.startsWith('@') ? address.toLowerCase().endsWith(wanted) : address.toLowerCase() === wanted
}
