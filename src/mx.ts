// steadymail/mx: delivery to the recipients' own servers, without a relay.

import { classifyReply } from './builtin.ts'
import { systemClock } from './clock.ts'
import { type MxTransportOptions, parseMxOptions } from './mx/options.ts'
import { type MxTransport, makeMxTransport } from './mx/transport.ts'

export type { DnsQuery } from './mx/dns.ts'
export type { DnsAnswer, MxRecord, RecordOf, RecordType, TlsaRecord } from './mx/dns-wire.ts'
export type { MxError, MxInfo } from './mx/info.ts'
export type { MxTransportOptions } from './mx/options.ts'
export { type DnsOptions, type MxResolver, mxResolver } from './mx/resolver.ts'
export type { MxFacts, MxTransport } from './mx/transport.ts'

/**
 * A nodemailer transport that finds each recipient domain's MX hosts and delivers there. Give it to
 * `wrapTransport`; its route is `direct` by itself. It needs the package `mx-connect`, and an address that
 * others accept mail from: see docs/direct.md.
 *
 * ```ts
 * const mailer = wrapTransport(mxTransport({ name: 'mail.example.com', localAddress: '192.0.2.7' }), { store })
 * ```
 * @throws SteadymailError `BAD_OPTION`
 */
export function mxTransport(options: MxTransportOptions = {}): MxTransport {
  return makeMxTransport(parseMxOptions(options), {
    clock: systemClock,
    isRecycle: (reply) => classifyReply(reply, { route: 'direct' }).cause === 'connection-recycle',
  })
}
