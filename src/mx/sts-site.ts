// Where a domain's MTA-STS policy comes from: its TXT record, and its web site (RFC 8461 §3.1, §3.3). The site
// may be hostile: bounded in size and in time, no redirects, no local address.
// Not here: what a policy says (sts.ts).

import { request } from 'node:https'
import type { Clock } from '../clock.ts'
import type { RouteResolver } from './resolver.ts'
import type { StsSource } from './sts.ts'

/** RFC 8461 §3.3 suggests a minute, and 64 KiB. A message waits for it, once per domain. */
const FETCH_MS = 30_000
const MOST_OCTETS = 65_536
/** RFC 8461 §3.1: 1 to 32 letters and digits. */
const RECORD = /^v=STSv1\s*;(?:[^;]*;)*?\s*id\s*=\s*([a-z0-9]{1,32})\s*(?:;|$)/i

/** @param allows whether an address may be connected to */
export function stsSite(
  clock: Clock,
  { lookup }: Pick<RouteResolver, 'lookup'>,
  allows: (address: string) => boolean,
): StsSource {
  return {
    async id(domain) {
      const { records } = await lookup(`_mta-sts.${domain}`, 'TXT')
      const found = records.map((texts) => texts.join('')).filter((text) => /^v=STSv1\s*;/i.test(text))
      // more than one is none (RFC 8461 §3.1)
      return found.length === 1 ? RECORD.exec(found[0] ?? '')?.[1] : undefined
    },
    async text(domain) {
      const host = `mta-sts.${domain}`
      const [a, aaaa] = await Promise.all([lookup(host, 'A'), lookup(host, 'AAAA')])
      const address = [...a.records, ...aaaa.records].find(allows)
      return address === undefined ? undefined : download(clock, host, address)
    },
  }
}

function download(clock: Clock, host: string, address: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = request({
      host: address,
      servername: host,
      headers: { host },
      port: 443,
      path: '/.well-known/mta-sts.txt',
    })
    const finish = (text: string | undefined) => {
      timer.cancel()
      asked.destroy()
      resolve(text)
    }
    const timer = clock.after(FETCH_MS, () => finish(undefined))
    timer.keep(false)
    asked.on('error', () => finish(undefined))
    asked.on('response', (response) => {
      // anything else is no policy, redirects included (RFC 8461 §3.3)
      if (response.statusCode !== 200) {
        finish(undefined)
        return
      }
      const pieces: Buffer[] = []
      let size = 0
      response.on('data', (piece: Buffer) => {
        size += piece.length
        if (size > MOST_OCTETS) finish(undefined)
        else pieces.push(piece)
      })
      response.on('error', () => finish(undefined))
      response.on('aborted', () => finish(undefined))
      response.on('end', () => finish(Buffer.concat(pieces).toString('utf8')))
    })
    asked.end()
  })
}
