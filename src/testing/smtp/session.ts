// One connection of a scripted SMTP server: RFC 5321 with pipelining, STARTTLS, AUTH PLAIN and LOGIN,
// friendly unless a script says otherwise. All replies to one segment leave in one.
// Not here: scripts (script.ts), listening and counting (../smtp-server.ts).

import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import type { SmtpLogLine } from './log.ts'
import type { SmtpAnswer, SmtpEvent, SmtpPhase, SmtpScriptFunction, SmtpSession } from './script.ts'
import { BodyReader, replyLines } from './wire.ts'

/** A message that the server accepted. */
export interface SmtpMessage {
  readonly session: SmtpSession
  readonly at: number
  readonly from: string
  /** The recipients that were accepted, in order. */
  readonly to: readonly string[]
  /** What followed the address in MAIL, as `SIZE=1234 BODY=8BITMIME`. */
  readonly params: string
  /** The message as sent, dots unstuffed. */
  readonly bytes: Buffer
  /** The same as UTF-8 text. */
  readonly text: string
}

/** What a session needs of its server. */
export interface SessionHost {
  readonly name: string
  readonly extensions: readonly string[]
  readonly maxSize: number
  readonly record: boolean
  readonly secureContext: SecureContext | undefined
  readonly implicitTls: boolean
  readonly users: ReadonlyMap<string, string> | undefined
  readonly authRequired: boolean
  readonly counts: SmtpCounts
  /** Asked only when there is a script. */
  readonly script: SmtpScriptFunction | undefined
  readonly isRead: boolean
  now(): number
  note(line: SmtpLogLine): void
  deliver(message: SmtpMessage): void
  closed(session: Session): void
}

/** Running totals, kept even when nothing is recorded. */
export interface SmtpCounts {
  connections: number
  /** Open now. */
  open: number
  /** Most open at a time. */
  peak: number
  mail: number
  rcpt: number
  /** Messages accepted. */
  messages: number
  /** Recipients of accepted messages. */
  recipients: number
  /** Replies of 4xx. */
  deferred: number
  /** Replies of 5xx. */
  refused: number
}

const LF = 0x0a
const ADDRESS = /^[A-Z]+ [A-Z]+:\s*<((?:"(?:[^"\\]|\\.)*"|[^">])*)>\s*(.*)$/i

export class Session implements SmtpSession {
  readonly id: number
  readonly openedAt: number
  readonly remoteAddress: string
  closedAt: number | undefined
  secure = false
  user: string | undefined
  clientName: string | undefined
  transactions = 0
  messages = 0

  private readonly host: SessionHost
  private socket: Socket
  private input: Buffer | undefined
  private out = ''
  private paused = false
  private over = false
  private from: string | undefined
  private params = ''
  private to: string[] = []
  /** While a message comes in. */
  private body: BodyReader | undefined
  /** Takes the next line instead of the command table: AUTH exchanges. */
  private nextLine: ((line: string) => void) | undefined

  constructor(socket: Socket, id: number, host: SessionHost) {
    this.host = host
    this.id = id
    this.socket = socket
    this.openedAt = host.now()
    this.remoteAddress = socket.remoteAddress ?? ''
    socket.setNoDelay(true)
    socket.on('error', ignore)
    socket.on('close', () => this.onClose())
    this.note('open', this.remoteAddress)
    if (host.implicitTls) this.startTls(() => this.greet())
    else this.listen(socket, () => this.greet())
  }

  /** Between transactions, waiting for the client. */
  get isIdle(): boolean {
    return !this.over && !this.paused && this.clientName !== undefined && this.from === undefined
  }

  /** Says something nobody asked for, and closes. */
  end(reply?: string): void {
    if (reply !== undefined) this.reply('other', reply)
    this.over = true
    this.flush()
    this.socket.end()
  }

  drop(): void {
    this.over = true
    // what was said before is still sent
    this.socket.destroySoon()
  }

  private listen(socket: Socket, ready: () => void): void {
    socket.on('data', (chunk: Buffer) => {
      this.input = this.input ? Buffer.concat([this.input, chunk]) : chunk
      this.run()
    })
    ready()
    this.flush()
  }

  private onClose(): void {
    if (this.closedAt !== undefined) return
    this.over = true
    this.closedAt = this.host.now()
    this.note('close', '')
    this.host.closed(this)
  }

  private greet(): void {
    this.step('greeting', '', (text) => this.reply('greeting', text ?? `220 ${this.host.name} ESMTP`))
  }

  // ---- input ----------------------------------------------------------------------------------------------

  private run(): void {
    while (this.input && !this.paused && !this.over) {
      const input = this.input
      if (this.body) {
        this.takeBody(input, this.body)
        continue
      }
      const end = input.indexOf(LF)
      if (end < 0) break
      const line = input.toString('utf8', 0, end > 0 && input[end - 1] === 0x0d ? end - 1 : end)
      this.input = end + 1 < input.length ? input.subarray(end + 1) : undefined
      this.takeLine(line)
    }
    if (this.over) this.input = undefined
    this.flush()
  }

  private takeBody(input: Buffer, body: BodyReader): void {
    const { taken, ended } = body.take(input)
    this.input = taken < input.length ? input.subarray(taken) : undefined
    if (ended) this.takeMessage(body)
    else if (this.host.script) this.step('body', '', ignore)
  }

  private takeMessage(body: BodyReader): void {
    this.body = undefined
    const { size } = body
    const bytes = body.message()
    const { from = '', to, params } = this
    const deliver = () => {
      this.messages++
      const { counts } = this.host
      counts.messages++
      counts.recipients += to.length
      if (bytes) this.host.deliver(messageOf(this, this.host.now(), { from, to, params, bytes }))
      this.note('message', `${from} -> ${to.join(', ')}`, 'dot')
    }
    const tooLarge = size - 3 > this.host.maxSize
    this.step(
      'dot',
      '',
      (text) => {
        if (text === undefined && tooLarge) {
          this.reply('dot', '552 5.3.4 Message too large')
        } else {
          deliver()
          this.reply('dot', text ?? `250 2.0.0 Ok: queued as ${this.id}.${this.messages}`)
        }
        this.reset()
      },
      {
        size,
        ...(bytes && { message: bytes }),
        otherwise: (answer) => {
          if (typeof answer === 'object' && answer.deliver) deliver()
          this.reset()
        },
      },
    )
  }

  private reset(): void {
    this.from = undefined
    this.params = ''
    this.to = []
  }

  private takeLine(line: string): void {
    if (this.nextLine) {
      const take = this.nextLine
      this.nextLine = undefined
      take(line)
      return
    }
    const space = line.indexOf(' ')
    const verb = (space < 0 ? line : line.slice(0, space)).toUpperCase()
    if (this.host.isRead) this.note('command', verb === 'AUTH' ? mask(line) : line, PHASES[verb] ?? 'other')
    const handle = COMMANDS[verb]
    if (handle) handle(this, line)
    else this.say('other', line, '502 5.5.2 Command not recognized')
  }

  // ---- commands -------------------------------------------------------------------------------------------

  /** Commands that only have to be answered. */
  say(phase: SmtpPhase, line: string, otherwise: string): void {
    this.step(phase, line, (text) => this.reply(phase, text ?? otherwise))
  }

  rset(line: string): void {
    this.step('rset', line, (text) => {
      this.reset()
      this.reply('rset', text ?? '250 2.0.0 Ok')
    })
  }

  quit(line: string): void {
    this.step('quit', line, (text) => {
      this.reply('quit', text ?? '221 2.0.0 Bye')
      this.end()
    })
  }

  ehlo(line: string, verb: string): void {
    this.step('ehlo', line, (text) => {
      this.clientName = line.slice(5).trim()
      this.reset()
      if (text !== undefined || verb === 'HELO') return this.reply('ehlo', text ?? `250 ${this.host.name}`)
      const { name, extensions, users, secureContext } = this.host
      const lines = [name, ...extensions]
      if (secureContext && !this.secure) lines.push('STARTTLS')
      if (users) lines.push('AUTH PLAIN LOGIN')
      this.reply('ehlo', lines.map((one, i) => `250${i < lines.length - 1 ? '-' : ' '}${one}`).join('\n'))
    })
  }

  mail(line: string): void {
    const [, from, params = ''] = ADDRESS.exec(line) ?? []
    this.host.counts.mail++
    this.transactions++
    const wrong = this.wrongMail(from, params)
    this.step(
      'mail',
      line,
      (text) => {
        if (text === undefined && wrong) return this.reply('mail', wrong)
        this.from = from ?? ''
        this.params = params
        this.reply('mail', text ?? '250 2.1.0 Ok')
      },
      { from: from ?? '', params },
    )
  }

  private wrongMail(from: string | undefined, params: string): string | undefined {
    if (from === undefined) return '501 5.5.4 Syntax: MAIL FROM:<address>'
    if (this.from !== undefined) return '503 5.5.1 Nested MAIL command'
    if (this.host.authRequired && this.user === undefined) return '530 5.7.0 Authentication required'
    const size = /(?:^| )SIZE=(\d+)/i.exec(params)?.[1]
    if (size !== undefined && Number(size) > this.host.maxSize) return '552 5.3.4 Message too large'
    return undefined
  }

  rcpt(line: string): void {
    const [, to, params = ''] = ADDRESS.exec(line) ?? []
    this.host.counts.rcpt++
    this.step(
      'rcpt',
      line,
      (text) => {
        if (text === undefined && to === undefined) {
          return this.reply('rcpt', '501 5.5.4 Syntax: RCPT TO:<address>')
        }
        if (this.from === undefined) return this.reply('rcpt', '503 5.5.1 Need MAIL command')
        if (text === undefined && /[^\u0000-\u007f]/.test(to ?? '') && !/\bSMTPUTF8\b/i.test(this.params)) {
          return this.reply('rcpt', '553 5.6.7 Address needs SMTPUTF8')
        }
        this.to.push(to ?? '')
        this.reply('rcpt', text ?? '250 2.1.5 Ok')
      },
      { to: to ?? '', params },
    )
  }

  data(line: string): void {
    this.step('data', line, (text) => {
      if (this.to.length === 0) {
        const why = this.from === undefined ? '503 5.5.1 Need MAIL command' : '554 5.5.1 No valid recipients'
        return this.reply('data', why)
      }
      this.body = new BodyReader(this.host.record)
      this.reply('data', text ?? '354 End data with <CR><LF>.<CR><LF>')
    })
  }

  starttls(line: string): void {
    this.step('starttls', line, (text) => {
      if (!this.host.secureContext || this.secure) return this.reply('starttls', '502 5.5.1 Not available')
      this.reply('starttls', text ?? '220 2.0.0 Ready to start TLS')
      this.flush()
      this.clientName = undefined
      this.user = undefined
      this.reset()
      this.startTls(ignore)
    })
  }

  private startTls(ready: () => void): void {
    const { socket } = this
    // what came in clear after the command must not be taken as said under TLS (RFC 3207 §4.2)
    this.input = undefined
    this.paused = true
    socket.removeAllListeners('data')
    const options = this.host.secureContext ? { secureContext: this.host.secureContext } : {}
    const secured = new TLSSocket(socket, { isServer: true, ...options })
    this.socket = secured
    secured.on('error', () => socket.destroy())
    secured.on('close', () => this.onClose())
    secured.once('secure', () => {
      this.secure = true
      this.paused = false
      this.note('secure', secured.getProtocol() ?? '')
      this.listen(secured, ready)
    })
  }

  auth(line: string): void {
    const [, mechanism = '', initial] = line.split(/ +/)
    const { users } = this.host
    if (!users) {
      this.reply('auth', '503 5.5.1 AUTH not available')
      return
    }
    const plain = (text: string) => {
      const [, user = '', password = ''] = decode(text).split('\0')
      this.login(user, password)
    }
    const password = (user: string) => this.challenge('Password:', (text) => this.login(user, decode(text)))
    switch (mechanism.toUpperCase()) {
      case 'PLAIN':
        if (initial === undefined) this.challenge('', plain)
        else plain(initial)
        break
      case 'LOGIN':
        if (initial === undefined) this.challenge('Username:', (text) => password(decode(text)))
        else password(decode(initial))
        break
      default:
        this.reply('auth', '504 5.5.4 Unrecognized authentication type')
    }
  }

  private challenge(text: string, take: (line: string) => void): void {
    this.nextLine = take
    this.reply('auth', `334 ${Buffer.from(text).toString('base64')}`)
  }

  private login(user: string, password: string): void {
    const correct = this.host.users?.get(user) === password
    this.step(
      'auth',
      'AUTH',
      (text) => {
        if (text === undefined && !correct) {
          return this.reply('auth', '535 5.7.8 Authentication credentials invalid')
        }
        this.user = user
        this.reply('auth', text ?? '235 2.7.0 Authentication successful')
      },
      { login: { user, correct } },
    )
  }

  // ---- scripts and replies --------------------------------------------------------------------------------

  /** Asks the script; `ok` runs when it has no opinion (without a text) or gives a 2xx or 3xx reply. */
  private step(
    phase: SmtpPhase,
    command: string,
    ok: (text?: string) => void,
    more: Partial<SmtpEvent> & { otherwise?: (answer: SmtpAnswer) => void } = {},
  ): void {
    const { script } = this.host
    if (!script) {
      ok()
      return
    }
    const { otherwise, ...facts } = more
    const event: SmtpEvent = {
      phase,
      command,
      session: this,
      at: this.host.now(),
      from: this.from ?? '',
      to: '',
      recipients: this.to,
      params: '',
      login: undefined,
      size: this.body?.size ?? 0,
      message: undefined,
      open: this.host.counts.open,
      ...facts,
    }
    let answer: ReturnType<SmtpScriptFunction>
    try {
      answer = script(event)
    } catch (error) {
      this.fail(phase, error)
      return
    }
    if (!(answer instanceof Promise)) {
      this.act(phase, answer, ok, otherwise)
      return
    }
    this.paused = true
    this.flush()
    answer
      .then(
        (said) => {
          if (!this.over) this.act(phase, said, ok, otherwise)
        },
        (error) => this.fail(phase, error),
      )
      .then(() => {
        this.paused = false
        this.run()
      })
  }

  /** A script's own mistake is told to whoever reads replies or log. */
  private fail(phase: SmtpPhase, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error)
    this.reply(phase, `451 4.3.0 Error in the SMTP script: ${why.replace(/[\r\n]+/g, ' ')}`)
    this.end()
  }

  private act(
    phase: SmtpPhase,
    answer: SmtpAnswer | undefined,
    ok: (text?: string) => void,
    otherwise?: (answer: SmtpAnswer) => void,
  ): void {
    if (answer === undefined || answer === 'pass') {
      ok()
      return
    }
    const { reply, and } = typeof answer === 'string' ? parseAnswer(answer) : withDefaults(answer)
    if (reply !== undefined && !/^[2-5]\d\d[ -]/.test(reply)) {
      this.fail(phase, new Error(`expected a code and a text, 'drop', 'hang' or 'pass', got '${reply}'`))
      return
    }
    if (reply !== undefined && !/^[45]/.test(reply)) ok(reply)
    else {
      if (reply !== undefined) this.reply(phase, reply)
      otherwise?.(answer)
    }
    this.after(and)
  }

  private after(what: 'stay' | 'close' | 'drop' | 'hang'): void {
    switch (what) {
      case 'stay':
        break
      case 'close':
        this.end()
        break
      case 'drop':
        this.flush()
        this.drop()
        break
      case 'hang':
        this.flush()
        this.over = true
        break
      default:
        what satisfies never
    }
  }

  private reply(phase: SmtpPhase, text: string): void {
    if (this.over) return
    const { counts } = this.host
    if (text.startsWith('4')) counts.deferred++
    else if (text.startsWith('5')) counts.refused++
    const lines = replyLines(text)
    this.out += `${lines}\r\n`
    if (this.host.isRead) this.note('reply', lines.replaceAll('\r\n', '\n'), phase)
  }

  private flush(): void {
    if (this.out === '') return
    const { out } = this
    this.out = ''
    if (this.socket.writable) this.socket.write(out)
  }

  private note(kind: SmtpLogLine['kind'], text: string, phase?: SmtpPhase): void {
    if (!this.host.isRead) return
    this.host.note({ at: this.host.now(), session: this.id, kind, ...(phase && { phase }), text })
  }
}

const COMMANDS: Readonly<Record<string, (session: Session, line: string) => void>> = {
  MAIL: (session, line) => session.mail(line),
  RCPT: (session, line) => session.rcpt(line),
  DATA: (session, line) => session.data(line),
  EHLO: (session, line) => session.ehlo(line, 'EHLO'),
  HELO: (session, line) => session.ehlo(line, 'HELO'),
  RSET: (session, line) => session.rset(line),
  NOOP: (session, line) => session.say('noop', line, '250 2.0.0 Ok'),
  QUIT: (session, line) => session.quit(line),
  AUTH: (session, line) => session.auth(line),
  STARTTLS: (session, line) => session.starttls(line),
}

const PHASES: Readonly<Record<string, SmtpPhase>> = {
  MAIL: 'mail',
  RCPT: 'rcpt',
  DATA: 'data',
  EHLO: 'ehlo',
  HELO: 'ehlo',
  RSET: 'rset',
  NOOP: 'noop',
  QUIT: 'quit',
  AUTH: 'auth',
  STARTTLS: 'starttls',
}

interface Said {
  readonly reply: string | undefined
  readonly and: 'stay' | 'close' | 'drop' | 'hang'
}

function parseAnswer(answer: string): Said {
  if (answer === 'drop' || answer === 'hang') return { reply: undefined, and: answer }
  return withDefaults({ reply: answer })
}

function withDefaults({ reply, and }: Exclude<SmtpAnswer, string>): Said {
  return { reply, and: and ?? (reply?.startsWith('421') ? 'close' : 'stay') }
}

function messageOf(
  session: SmtpSession,
  at: number,
  parts: Pick<SmtpMessage, 'from' | 'to' | 'params' | 'bytes'>,
): SmtpMessage {
  return {
    session,
    at,
    ...parts,
    get text() {
      return parts.bytes.toString('utf8')
    },
  }
}

function mask(line: string): string {
  const [verb = '', mechanism = '', secret] = line.split(/ +/)
  return `${verb} ${mechanism}${secret === undefined ? '' : ' ***'}`
}

function decode(text: string): string {
  return Buffer.from(text, 'base64').toString('utf8')
}

function ignore(): void {}
