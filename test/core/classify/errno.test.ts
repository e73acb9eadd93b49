// Failures that no server spoke of.

import { describe, expect, it } from 'vitest'
import { classifyReply } from '../../../src/builtin.ts'

describe('a failure without a reply', () => {
  it.each([
    ['ECONNREFUSED', 'connect ECONNREFUSED 192.0.2.1:25', 'network', 'transient', 'connection'],
    ['ETIMEDOUT', 'Connection timeout', 'network', 'transient', 'connection'],
    ['ECONNRESET', 'read ECONNRESET', 'network', 'transient', 'connection'],
    ['ESOCKET', 'socket hang up', 'network', 'transient', 'connection'],
    ['ENOTFOUND', 'getaddrinfo ENOTFOUND smtp.example.com', 'dns', 'transient', 'recipient'],
    ['EDNS', 'queryMx ESERVFAIL example.com', 'dns', 'transient', 'recipient'],
    ['EDNS', 'NXDOMAIN example.invalid', 'dns', 'permanent', 'recipient'],
    ['ETLS', 'Error initiating TLS', 'tls-required', 'transient', 'lane'],
    ['EREQUIRETLS', 'server does not support REQUIRETLS', 'tls-required', 'permanent', 'message'],
    ['EAUTH', 'Missing credentials for "PLAIN"', 'auth-credentials', 'transient', 'sender'],
    ['ENOAUTH', 'no auth method', 'auth-credentials', 'transient', 'sender'],
    ['EPROTOCOL', 'Invalid greeting', 'protocol', 'transient', 'connection'],
    ['TooManyRequestsException', 'Maximum sending rate exceeded.', 'rate-limit', 'transient', 'sender'],
    ['ThrottlingException', 'Rate exceeded', 'rate-limit', 'transient', 'sender'],
    ['Throttling', 'Daily message quota exceeded.', 'quota-sender', 'transient', 'sender'],
    ['LimitExceededException', 'too many', 'quota-sender', 'transient', 'sender'],
    [
      'MessageRejected',
      'Email address is not verified. The following identities failed',
      'sender-rejected',
      'permanent',
      'sender',
    ],
    ['MessageRejected', 'Message contains a virus', 'content', 'permanent', 'message'],
    ['AccountSuspendedException', 'Account is suspended', 'policy-other', 'transient', 'sender'],
    ['SendingPausedException', 'Sending is paused', 'policy-other', 'transient', 'sender'],
    ['MailFromDomainNotVerifiedException', 'not verified', 'sender-rejected', 'permanent', 'sender'],
    ['ESES', 'TooManyRequestsException: Maximum sending rate exceeded.', 'rate-limit', 'transient', 'sender'],
    ['ESENDMAIL', 'Sendmail exited with code 75', 'server-busy', 'transient', 'sender'],
    ['ESENDMAIL', 'Sendmail exited with code 67', 'recipient-unknown', 'permanent', 'recipient'],
  ])('%s: %s', (errno, text, cause, persistence, scope) => {
    expect(classifyReply({ errno, text, phase: 'unknown' })).toMatchObject({
      cause,
      persistence,
      scope,
      layer: 'errno',
    })
  })

  it('a reply that did come counts more than the error that carried it', () => {
    const verdict = classifyReply({
      errno: 'EAUTH',
      code: 454,
      text: '454 4.7.0 Temporary system problem',
      phase: 'auth',
    })
    expect(verdict).toMatchObject({ cause: 'server-busy', layer: 'general' })
  })

  it('an unknown code falls back to the text', () => {
    expect(
      classifyReply({ errno: 'EWEIRD', text: 'lost connection with mx.example.com', phase: 'dot' }),
    ).toMatchObject({ cause: 'network' })
  })
})
