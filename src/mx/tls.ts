// STARTTLS: from a plain socket to a TLS one, and how far its certificate can be trusted.
// Not here: when TLS is asked for (session.ts), or what a domain demands (route.ts).

import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import type { ReplyTls } from '../core/reply.ts'
import type { Lost } from './line.ts'

/** `verified`: the certificate is valid for the MX host, or matches its TLSA records. */
export type TlsLevel = 'none' | 'encrypted' | 'verified'

export interface TlsState {
  readonly level: TlsLevel
  /** For replies. */
  readonly facts: ReplyTls | false
  /** For transcripts: protocol, cipher, and why a certificate was not verified. */
  readonly text: string
}

/** A certificate as mx-connect's check reads it: DER, and the key as PEM, which Node's own objects do not have. */
export interface DaneCertificate {
  readonly raw: Buffer
  readonly publicKey: string
}

export interface TlsSettings {
  /** What a session must reach to be used. */
  readonly need: TlsLevel
  /** Ask for TLS where it is offered but not needed. */
  readonly attempt: boolean
  /** The user's: `ca`, `minVersion`, `ciphers`… */
  readonly options: ConnectionOptions
  /** mx-connect's check against TLSA records (RFC 7672); gives an error, or undefined for a match. */
  readonly dane?: ((host: string, certificate: DaneCertificate) => Error | undefined) | undefined
}

export const NO_TLS: TlsState = { level: 'none', facts: false, text: 'no TLS' }

const RANK: Readonly<Record<TlsLevel, number>> = { none: 0, encrypted: 1, verified: 2 }

/** Whether a session at this level may carry mail that needs that one. */
export function trusted(state: TlsState, need: TlsLevel): boolean {
  return RANK[state.level] >= RANK[need]
}

export function stricter(a: TlsLevel, b: TlsLevel): TlsLevel {
  return RANK[a] >= RANK[b] ? a : b
}

/** Upgrades a socket. The handshake succeeds with any certificate: what it is worth is in the state. */
export function secure(
  plain: Socket,
  host: string,
  { options, dane }: TlsSettings,
): Promise<{ socket: TLSSocket; state: TlsState } | Lost> {
  return new Promise((resolve) => {
    const fail = (error: Error) => resolve({ errno: 'ETLS', text: error.message })
    try {
      const socket = connect({
        ...options,
        ...(isIP(host) === 0 && { servername: host }),
        // the host's name is what the certificate is checked against, an address where it has none
        host,
        socket: plain,
        rejectUnauthorized: false,
      })
      socket.once('error', fail)
      socket.once('close', () => fail(new Error('the connection was closed')))
      socket.once('secureConnect', () => {
        socket.off('error', fail)
        resolve({ socket, state: stateOf(socket, host, dane) })
      })
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)))
    }
  })
}

function stateOf(socket: TLSSocket, host: string, dane: TlsSettings['dane']): TlsState {
  const version = socket.getProtocol() ?? 'TLS'
  const cipher = socket.getCipher().standardName
  const state = (level: 'encrypted' | 'verified', more: string): TlsState => {
    const text = `${version} ${cipher}, ${more}`
    return { level, facts: { version, cipher, verified: level === 'verified' }, text }
  }
  // Node asks checkServerIdentity only where the chain is valid, which with DANE it need not be
  if (dane) {
    const certificate = socket.getPeerX509Certificate()
    const mismatch = certificate
      ? dane(host, {
          raw: certificate.raw,
          publicKey: certificate.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
        })
      : new Error('no certificate')
    if (mismatch) return state('encrypted', mismatch.message)
    return state('verified', 'certificate matches its TLSA record')
  }
  if (socket.authorized) return state('verified', 'certificate verified')
  const reason: unknown = socket.authorizationError
  const why = reason instanceof Error ? reason.message : String(reason ?? 'unknown')
  return state('encrypted', `certificate not verified: ${why}`)
}
