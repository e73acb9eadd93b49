// What to tell a person for each cause, whose reply usually it is about, and whether waiting alone can help.

import type { Cause, Persistence, Scope } from '../cause.ts'

interface Meaning {
  readonly scope: Scope
  readonly advice: string
  /** Whether time alone, without anybody doing something, can change the answer. */
  readonly waitingHelps: boolean
}

export const MEANINGS: { readonly [C in Cause]: Meaning } = {
  'rate-limit': {
    scope: 'lane',
    waitingHelps: true,
    advice: 'Send more slowly to this provider, and warm up a new IP or domain over weeks.',
  },
  concurrency: {
    scope: 'lane',
    waitingHelps: true,
    advice: 'Open fewer connections at a time to this provider.',
  },
  'connection-recycle': {
    scope: 'connection',
    waitingHelps: true,
    advice: 'Nothing is wrong: send the rest over a new connection, and fewer messages over each.',
  },
  greylist: {
    scope: 'recipient',
    waitingHelps: true,
    advice: 'Nothing to fix: the same message from the same IP and sender passes on a later try.',
  },
  'reputation-ip': {
    scope: 'lane',
    waitingHelps: false,
    advice:
      'The sending IP has a poor standing: look for complaints and dead addresses in your lists, and ask the postmaster for a review.',
  },
  'reputation-domain': {
    scope: 'lane',
    waitingHelps: false,
    advice:
      'The sending domain has a poor standing: check opt-in, complaints and content in the provider’s postmaster tools.',
  },
  blocklist: {
    scope: 'lane',
    waitingHelps: false,
    advice: 'Find the cause of the listing, end it, and ask the list named in the reply for removal.',
  },
  authentication: {
    scope: 'sender',
    waitingHelps: false,
    advice: 'Publish SPF and DKIM for the From domain, align them with it, and check its DMARC policy.',
  },
  'reverse-dns': {
    scope: 'lane',
    waitingHelps: false,
    advice: 'Give the sending IP a PTR record whose name resolves back to it, and use that name in EHLO.',
  },
  content: {
    scope: 'message',
    waitingHelps: false,
    advice: 'Change the message: its wording, links, attachments or headers.',
  },
  'recipient-unknown': {
    scope: 'recipient',
    waitingHelps: false,
    advice: 'Remove this address from your lists.',
  },
  'recipient-disabled': {
    scope: 'recipient',
    waitingHelps: false,
    advice: 'The mailbox is switched off: remove it, or reach the person another way.',
  },
  'mailbox-full': {
    scope: 'recipient',
    waitingHelps: true,
    advice: 'The mailbox is full: tell the recipient another way, and drop the address if it stays so.',
  },
  'recipient-rate': {
    scope: 'recipient',
    waitingHelps: true,
    advice: 'This mailbox gets too much at once: send it fewer messages.',
  },
  'recipient-unverified': {
    scope: 'recipient',
    waitingHelps: true,
    advice: 'Nothing to fix: the server is still checking the address.',
  },
  'message-too-large': {
    scope: 'message',
    waitingHelps: false,
    advice: 'Make the message smaller, or send a link instead of the attachment.',
  },
  'too-many-recipients': {
    scope: 'message',
    waitingHelps: true,
    advice: 'Send the remaining recipients in another transaction, fewer at a time.',
  },
  'relay-denied': {
    scope: 'recipient',
    waitingHelps: false,
    advice: 'The server does not serve this domain for you: check the domain’s MX, or log in to your relay.',
  },
  'sender-rejected': {
    scope: 'sender',
    waitingHelps: false,
    advice: 'Use a sender address that exists, has an MX, and that your login may use.',
  },
  'tls-required': {
    scope: 'lane',
    waitingHelps: false,
    advice: 'Turn on STARTTLS and check the certificate.',
  },
  'auth-credentials': {
    scope: 'sender',
    waitingHelps: false,
    advice:
      'Check user name, password or app password, and that SMTP login is allowed; repeated tries can lock the account.',
  },
  'quota-sender': {
    scope: 'sender',
    waitingHelps: true,
    advice: 'Your account’s allowance is used up: wait for the next window, raise it, or spread the mail.',
  },
  'server-busy': {
    scope: 'lane',
    waitingHelps: true,
    advice: 'Nothing to fix on your side; look again if it lasts for hours.',
  },
  dns: {
    scope: 'recipient',
    waitingHelps: true,
    advice: 'A name or a route at the other side fails: check the domain’s MX and forwarding.',
  },
  network: {
    scope: 'connection',
    waitingHelps: true,
    advice: 'The connection failed: check the route, port 25 and IPv6 if it lasts.',
  },
  protocol: {
    scope: 'message',
    waitingHelps: false,
    advice: 'The server did not like the conversation: look at the session’s transcript.',
  },
  smtputf8: {
    scope: 'message',
    waitingHelps: false,
    advice: 'The server takes no international addresses: use an ASCII address.',
  },
  'policy-other': {
    scope: 'message',
    waitingHelps: false,
    advice: 'The receiver’s own rules refuse this: ask the recipient or its administrator.',
  },
  unknown: {
    scope: 'message',
    waitingHelps: true,
    advice: 'The server gives no reason; its words are all there is to go by.',
  },
}

/** Whether waiting alone can help: never for a refusal for good. */
export function waitingHelps(cause: Cause, persistence: Persistence): boolean {
  return persistence === 'transient' && MEANINGS[cause].waitingHelps
}
