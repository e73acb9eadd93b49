// A conversation's answer in nodemailer's form, with steadymail's own beside it.

import type { OwnAnswer } from '../answer.ts'
import { printable } from '../core/classify/parse.ts'
import type { Phase, Reply } from '../core/reply.ts'
import type { Conversation } from './converse.ts'
import type { Mail } from './post.ts'

/** What `sendMail` over the bare transport resolves to. */
export interface MxInfo {
  readonly envelope: { readonly from: string | false; readonly to: readonly string[] }
  readonly messageId: string
  readonly accepted: readonly string[]
  readonly rejected: readonly string[]
  readonly rejectedErrors?: readonly MxError[]
  readonly response: string
  readonly steadymail: OwnAnswer
}

/** An error as nodemailer's SMTP transport makes it. */
export interface MxError extends Error {
  code: string
  command: string
  response?: string
  responseCode?: number
  recipient?: string
  rejected?: readonly string[]
  rejectedErrors?: readonly MxError[]
  steadymail?: OwnAnswer
}

/** What is kept of a session, so that no server can fill a store with its chatter. */
const MAX_LINES = 80
const MAX_LINE = 500

/**
 * nodemailer's result: resolves when anybody was accepted.
 * @throws the first refusal, with all of them, when nobody was
 */
export function infoFrom(mail: Mail, { said, chapters, refusal }: Conversation): MxInfo {
  const [only] = said
  if (only?.accepted && said.length === 1) {
    const { from = false, to } = mail.message.getEnvelope()
    const accepted = [only.address]
    const { text: response } = only.reply
    // of what went well nobody asks later
    const steadymail = { recipients: said }
    return {
      envelope: { from, to },
      messageId: mail.message.messageId(),
      accepted,
      rejected: [],
      response,
      steadymail,
    }
  }
  const accepted = said.filter((one) => one.accepted)
  const errors = said.filter((one) => !one.accepted).map(({ address, reply }) => errorFrom(reply, address))
  const rejected = errors.map(({ recipient = '' }) => recipient)
  const steadymail: OwnAnswer =
    errors.length === 0 ? { recipients: said } : { recipients: said, transcript: bounded(chapters.flat()) }
  const [first] = accepted
  if (first) {
    const { from = false, to } = mail.message.getEnvelope()
    return {
      envelope: { from, to },
      messageId: mail.message.messageId(),
      accepted: accepted.map(({ address }) => address),
      rejected,
      response: first.reply.text,
      steadymail,
      ...(errors.length > 0 && { rejectedErrors: errors }),
    }
  }
  if (refusal?.error instanceof Error) throw Object.assign(refusal.error, { steadymail })
  const [error] = errors
  if (!error) throw Object.assign(new Error('No recipients defined'), { code: 'EENVELOPE', command: 'API' })
  const { recipient: _, ...fields } = error
  throw Object.assign(new Error(error.message), fields, { rejected, rejectedErrors: errors, steadymail })
}

const COMMANDS: Readonly<Record<Phase, string>> = {
  greeting: 'CONN',
  ehlo: 'EHLO',
  auth: 'AUTH',
  mail: 'MAIL FROM',
  rcpt: 'RCPT TO',
  data: 'DATA',
  dot: 'DATA',
  idle: 'CONN',
  unknown: 'CONN',
}

function errorFrom(reply: Reply, recipient: string): MxError {
  const { code, text, errno, phase } = reply
  const kind =
    phase === 'dot' ? 'EMESSAGE' : phase === 'greeting' || phase === 'ehlo' ? 'EPROTOCOL' : 'EENVELOPE'
  return Object.assign(new Error(text), {
    code: errno ?? kind,
    command: COMMANDS[phase],
    recipient,
    ...(code !== undefined && { response: text, responseCode: code }),
  })
}

function bounded(lines: readonly string[]): readonly string[] {
  const kept =
    lines.length > MAX_LINES
      ? [...lines.slice(0, MAX_LINES - 1), `* ${lines.length - MAX_LINES + 1} more lines`]
      : lines
  return kept.map((line) => harmless(line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}…` : line))
}

/** What a stranger said may be shown on a terminal. */
function harmless(text: string): string {
  return printable({ text, phase: 'unknown' }).text
}
