// A small internet on loopback: a DNS server, SMTP servers on addresses of their own with one port, and
// transports that know both. Everything is closed with it.

import type { OwnAnswer } from '../../src/answer.ts'
import { type MxTransport, type MxTransportOptions, mxTransport } from '../../src/mx.ts'
import { type SmtpServer, type SmtpServerOptions, smtpServer } from '../../src/testing/smtp-server.ts'
import { a, type DnsServer, dnsServer, mx } from './dns-server.ts'

export interface World {
  readonly dns: DnsServer
  /** An SMTP server at an address, under a name in the DNS. */
  server(name: string, address: string, options?: SmtpServerOptions): Promise<SmtpServer>
  /** A domain with these MX hosts, the first preferred most. */
  domain(name: string, ...hosts: string[]): void
  transport(options?: MxTransportOptions): MxTransport
  /** A port where servers of this world are, for options. */
  readonly port: number
  close(): Promise<void>
}

export async function world(): Promise<World> {
  const dns = await dnsServer()
  const servers: SmtpServer[] = []
  const transports: MxTransport[] = []
  const self: World & { port: number } = {
    dns,
    port: 0,
    async server(name, address, options = {}) {
      const server = await smtpServer({ name, host: address, port: self.port, ...options })
      self.port = server.port
      servers.push(server)
      dns.zone.set(name, [a(address)])
      return server
    },
    domain(name, ...hosts) {
      dns.zone.set(
        name,
        hosts.map((host, i) => mx(host, 10 * (i + 1))),
      )
    },
    transport(options = {}) {
      const transport = mxTransport({
        name: 'mail.us.test',
        port: self.port || 25,
        allowLocal: true,
        mtaSts: false,
        dane: false,
        ...options,
        dns: { servers: [dns.address], timeout: '500ms', ...options.dns },
      })
      transports.push(transport)
      return transport
    },
    async close() {
      for (const transport of transports) transport.close()
      await Promise.all(servers.map((server) => server.close()))
      await dns.close()
    },
  }
  return self
}

export interface Sending {
  readonly from?: string
  readonly to: string | readonly string[]
  readonly body?: string | Uint8Array
  readonly hints?: Readonly<Record<string, unknown>>
  readonly signal?: AbortSignal
  readonly dsn?: unknown
  /** Asked before the body is given, as steadymail's gate. */
  readonly gate?: () => void | Promise<void>
}

/** Sends as steadymail's engine does, and gives what it is told. */
export function send(transport: MxTransport, sending: Sending): Promise<OwnAnswer> {
  const { from = 'a@us.test', body = 'Subject: hello\r\n\r\nhello\r\n', hints, signal, dsn, gate } = sending
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const to = typeof sending.to === 'string' ? [sending.to] : [...sending.to]
  const mail = {
    data: {
      ...(hints && { steadymail: hints }),
      ...(signal && { signal }),
      ...(dsn !== undefined && { dsn }),
    },
    message: {
      getEnvelope: () => ({ from, to: [...to] }),
      messageId: () => '<1@us.test>',
      createReadStream: () => {
        throw new Error('takeBody is there')
      },
      bodyFacts: () => ({ size: bytes.length, eightBit: bytes.some((byte) => byte > 127) }),
      takeBody: () => {
        const passed = gate?.()
        return passed instanceof Promise ? passed.then(() => bytes) : bytes
      },
    },
  }
  return new Promise((resolve, reject) => {
    const answered = (
      error: (Error & { steadymail?: OwnAnswer }) | null,
      info?: { steadymail: OwnAnswer },
    ) => {
      const own = info?.steadymail ?? error?.steadymail
      if (own) resolve(own)
      else reject(error)
    }
    transport.send(mail as never, answered as never)
  })
}

/** `accepted`, or the code and phase of the refusal, for each recipient. */
export function outcomes(answer: OwnAnswer): string[] {
  return answer.recipients.map(({ accepted, reply, uncertain }) => {
    if (accepted) return 'accepted'
    return `${reply.code ?? reply.errno ?? reply.enhanced} ${reply.phase}${uncertain ? ' uncertain' : ''}`
  })
}
