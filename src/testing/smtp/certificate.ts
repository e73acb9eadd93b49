// Self-signed TLS certificates for tests, made in a millisecond without openssl: X.509 (RFC 5280) in DER,
// P-256 keys, SHA-256. Not for anything but tests.

import { generateKeyPairSync, sign } from 'node:crypto'
import { isIP } from 'node:net'

/** What a certificate is made for. */
export interface TestCertificateOptions {
  /** Host names and addresses it is for; `*.example.test` is allowed. @default ['localhost', '127.0.0.1', '::1'] */
  readonly names?: readonly string[]
  /** `YYYYMMDDHHMMSSZ`. @default '20200101000000Z' */
  readonly notBefore?: string
  /** `YYYYMMDDHHMMSSZ`; a past one makes an expired certificate. @default '21200101000000Z' */
  readonly notAfter?: string
}

/** PEM texts. Clients that trust `cert` as their `ca` accept the server. */
export interface TestCertificate {
  readonly cert: string
  readonly key: string
}

const SEQUENCE = 0x30
const SET = 0x31
const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const BOOLEAN = 0x01
const UTF8_STRING = 0x0c
const GENERALIZED_TIME = 0x18
const DNS_NAME = 0x82
const IP_ADDRESS = 0x87

// object identifiers, already encoded
const ECDSA_WITH_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex')
const COMMON_NAME = Buffer.from('0603550403', 'hex')
const SUBJECT_ALT_NAME = Buffer.from('0603551d11', 'hex')
const BASIC_CONSTRAINTS = Buffer.from('0603551d13', 'hex')

/** A new key and a certificate for it, signed by itself. */
export function testCertificate(options: TestCertificateOptions = {}): TestCertificate {
  const { names = ['localhost', '127.0.0.1', '::1'] } = options
  const { notBefore = '20200101000000Z', notAfter = '21200101000000Z' } = options
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const serial = Buffer.concat([Buffer.from([0x01]), spki.subarray(-8)])
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, text(UTF8_STRING, names[0] ?? 'localhost'))))
  const algorithm = der(SEQUENCE, ECDSA_WITH_SHA256)
  const signed = der(
    SEQUENCE,
    der(0xa0, der(INTEGER, Buffer.from([2]))), // version 3
    der(INTEGER, serial),
    algorithm,
    name,
    der(SEQUENCE, text(GENERALIZED_TIME, notBefore), text(GENERALIZED_TIME, notAfter)),
    name,
    spki,
    der(0xa3, der(SEQUENCE, constraints(), alternatives(names))),
  )
  const signature = sign('sha256', signed, privateKey)
  const whole = der(SEQUENCE, signed, algorithm, der(BIT_STRING, Buffer.from([0]), signature))
  const body = whole.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** CA: TRUE, so that it can be its own anchor. */
function constraints(): Buffer {
  const isAuthority = der(SEQUENCE, der(BOOLEAN, Buffer.from([0xff])))
  return der(SEQUENCE, BASIC_CONSTRAINTS, der(BOOLEAN, Buffer.from([0xff])), der(OCTET_STRING, isAuthority))
}

function alternatives(names: readonly string[]): Buffer {
  const all = names.map((name) => (isIP(name) ? der(IP_ADDRESS, address(name)) : text(DNS_NAME, name)))
  return der(SEQUENCE, SUBJECT_ALT_NAME, der(OCTET_STRING, der(SEQUENCE, ...all)))
}

function address(ip: string): Buffer {
  if (isIP(ip) === 4) return Buffer.from(ip.split('.').map(Number))
  const [head = '', tail] = ip.split('::')
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const left = groups(head)
  const right = tail === undefined ? [] : groups(tail)
  const all = [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right]
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

function text(tag: number, value: string): Buffer {
  return der(tag, Buffer.from(value))
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content])
  const size = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
