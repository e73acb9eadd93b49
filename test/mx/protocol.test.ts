// What goes over the wire: extensions as the server offers them, limits before the body, nothing smuggled.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { classifyReply } from '../../src/builtin.ts'
import type { SmtpServerOptions } from '../../src/testing/smtp-server.ts'
import { outcomes, type Sending, send, type World, world } from './world.ts'

let w: World

beforeEach(async () => {
  w = await world()
  w.domain('acme.test', 'mx1.test')
})

afterEach(() => w.close())

async function sent(options: SmtpServerOptions, sending: Partial<Sending>) {
  const server = await w.server('mx1.test', '127.0.3.1', options)
  const answer = await send(w.transport(), { to: 'x@acme.test', ...sending })
  return { server, answer, message: server.messages[0] }
}

describe('a message', () => {
  it.each([[['PIPELINING', '8BITMIME', 'SIZE 1000000']], [['8BITMIME']], [[]]])(
    'arrives as it was given, with %j',
    async (extensions) => {
      const body = Buffer.from(`Subject: ä\r\n\r\n.\r\n..\r\n${'ü'.repeat(40_000)}\r\n.`)
      const { message, answer } = await sent({ extensions }, { body, to: ['x@acme.test', 'y@acme.test'] })
      expect(outcomes(answer)).toEqual(['accepted', 'accepted'])
      expect(message?.bytes.equals(Buffer.concat([body, Buffer.from('\r\n')]))).toBe(true)
      expect(message?.to).toEqual(['x@acme.test', 'y@acme.test'])
    },
  )

  it('is one message to the server whatever it holds (SMTP smuggling)', async () => {
    const inner = 'MAIL FROM:<evil@us.test>\r\nRCPT TO:<victim@acme.test>\r\nDATA\r\nforged\r\n'
    for (const end of ['\n.\n', '\r.\r', '\n.\r\n', '\r\n.\n', '\r\n.\r', '\r.\r\n']) {
      const server = await w.server('mx1.test', '127.0.3.2')
      await send(w.transport(), { to: 'x@acme.test', body: `Subject: hi\r\n\r\nhello${end}${inner}` })
      expect(
        server.messages.map(({ from }) => from),
        JSON.stringify(end),
      ).toEqual(['a@us.test'])
      expect(server.messages[0]?.text, JSON.stringify(end)).not.toMatch(/(?<!\r)\n|\r(?!\n)/)
      await server.close()
    }
  })

  it('says its size, its 8-bit body and its DSN wishes to a server that wants to know', async () => {
    const dsn = { id: 'order 42', return: 'headers', notify: ['failure', 'delay'], recipient: 'me@us.test' }
    const { server, message } = await sent({}, { body: 'Subject: hi\r\n\r\nä\r\n', dsn })
    expect(message?.params).toBe('SIZE=19 BODY=8BITMIME RET=HDRS ENVID=order+2042')
    expect(
      server.log.some(
        ({ text }) => text === 'RCPT TO:<x@acme.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;me@us.test',
      ),
    ).toBe(true)
  })

  it('says nothing of it to a server that does not', async () => {
    const { message } = await sent(
      { extensions: ['HELP'] },
      { body: 'Subject: hi\r\n\r\nä\r\n', dsn: { notify: 'never' } },
    )
    expect(message?.params).toBe('')
  })

  it('that is too large is not sent, and fails for good', async () => {
    const { server, answer } = await sent({ maxSize: 1000 }, { body: Buffer.alloc(2000, 'x') })
    const [said] = answer.recipients
    expect(said?.reply).toMatchObject({ enhanced: '5.3.4', host: 'mx1.test' })
    expect(said && classifyReply(said.reply)).toMatchObject({
      cause: 'message-too-large',
      persistence: 'permanent',
    })
    expect(server.counts.mail).toBe(0)
  })

  it('with an international address needs SMTPUTF8; an international domain does not', async () => {
    const { server, message } = await sent({}, { to: 'дима@acme.test' })
    expect(message?.params).toMatch(/SMTPUTF8/)
    await server.close()
    w.domain('xn--mnchen-3ya.test', 'mx1.test')
    const plain = await sent({ extensions: ['SIZE 1000000'] }, { to: ['x@münchen.test', 'дима@acme.test'] })
    expect(outcomes(plain.answer)).toEqual(['5.6.7 mail', '5.6.7 mail'])
    expect(plain.answer.recipients[0] && classifyReply(plain.answer.recipients[0].reply)).toMatchObject({
      cause: 'smtputf8',
    })
    expect(outcomes(await send(w.transport(), { to: 'x@münchen.test' }))).toEqual(['accepted'])
    expect(plain.server.messages[0]?.to).toEqual(['x@xn--mnchen-3ya.test'])
  })

  it('may come from nobody', async () => {
    const { message, answer } = await sent({}, { from: '' })
    expect(outcomes(answer)).toEqual(['accepted'])
    expect(message?.from).toBe('')
  })

  it('whose address would be a command is refused here', async () => {
    const { server, answer } = await sent({}, { to: 'x@acme.test>\r\nRCPT TO:<y@acme.test' })
    expect(outcomes(answer)).toEqual(['5.1.3 unknown'])
    expect(server.counts.connections).toBe(0)
  })

  it('is not sent when its gate is shut, though the server has said go', async () => {
    const gate = () => {
      throw new Error('the lease is lost')
    }
    const { server, answer } = await sent({}, { gate })
    expect(outcomes(answer)).toEqual(['EABORT data'])
    expect(server.messages).toHaveLength(0)
    expect(outcomes(await send(w.transport(), { to: 'x@acme.test', gate: async () => gate() }))).toEqual([
      'EABORT data',
    ])
  })

  it('waits for its gate', async () => {
    let open = () => {}
    const shut = new Promise<void>((resolve) => {
      open = resolve
    })
    const server = await w.server('mx1.test', '127.0.3.1')
    const answer = send(w.transport(), { to: 'x@acme.test', gate: () => shut })
    await server.seen(({ text }) => text.startsWith('354'))
    expect(server.messages).toHaveLength(0)
    open()
    expect(outcomes(await answer)).toEqual(['accepted'])
  })
})

describe('replies', () => {
  it('are told with phase, host and transcript, and never the body', async () => {
    const { answer } = await sent(
      { script: { on: 'dot', answer: '451 4.7.1 Try again\nin 15 minutes' } },
      { body: 'Subject: secret\r\n\r\nsecret words\r\n' },
    )
    expect(answer.recipients[0]).toMatchObject({
      accepted: false,
      reply: {
        code: 451,
        enhanced: '4.7.1',
        phase: 'dot',
        host: 'mx1.test',
        text: expect.stringContaining('in 15 minutes'),
      },
    })
    const transcript = answer.transcript?.join('\n') ?? ''
    expect(transcript).toMatch(/\* connected to mx1\.test \[127\.0\.3\.1\]:\d+ from 127\.0\.0\.1/)
    expect(transcript).toContain('C: EHLO mail.us.test')
    expect(transcript).toContain('C: RCPT TO:<x@acme.test>')
    expect(transcript).toContain('* message of 33 octets')
    expect(transcript).not.toContain('secret')
  })

  it('of any length leave a transcript of bounded length', async () => {
    const { answer } = await sent(
      { script: { on: 'rcpt', answer: `450 ${'x'.repeat(2000)}` } },
      { to: Array.from({ length: 200 }, (_, i) => `x${i}@acme.test`) },
    )
    expect(answer.transcript?.length).toBeLessThanOrEqual(80)
    expect(Math.max(...(answer.transcript ?? []).map((line) => line.length))).toBeLessThan(510)
  })

  it('without end do not fill the memory', async () => {
    const { answer } = await sent({ script: { on: 'mail', answer: `250-${'x\n'.repeat(100_000)}x` } }, {})
    expect(outcomes(answer)).toEqual(['EPROTOCOL mail'])
  })

  it('are heard for each recipient', async () => {
    const { answer, message } = await sent(
      {
        script: [
          { on: 'rcpt', to: 'full@acme.test', answer: '452 4.2.2 Mailbox full' },
          { on: 'rcpt', to: 'gone@acme.test', answer: '550 5.1.1 No such user' },
        ],
      },
      { to: ['x@acme.test', 'full@acme.test', 'gone@acme.test', 'y@acme.test'] },
    )
    expect(outcomes(answer)).toEqual(['accepted', '452 rcpt', '550 rcpt', 'accepted'])
    expect(message?.to).toEqual(['x@acme.test', 'y@acme.test'])
  })

  it('to MAIL are for all', async () => {
    const { answer } = await sent(
      { script: { on: 'mail', answer: '550 5.7.1 Sender refused' } },
      { to: ['x@acme.test', 'y@acme.test'] },
    )
    expect(outcomes(answer)).toEqual(['550 mail', '550 mail'])
  })

  it('that do not come end the try: before the body for another, after it as uncertain', async () => {
    await w.server('mx1.test', '127.0.3.1', { script: { on: 'mail', answer: 'hang' } })
    const impatient = w.transport({ commandTimeout: '200ms', dataTimeout: '200ms' })
    expect(outcomes(await send(impatient, { to: 'x@acme.test' }))).toEqual(['ETIMEDOUT mail'])
    await w.server('mx2.test', '127.0.3.2', { script: { on: 'dot', answer: 'hang' } })
    w.domain('two.test', 'mx2.test')
    expect(outcomes(await send(impatient, { to: 'x@two.test' }))).toEqual(['ETIMEDOUT dot uncertain'])
  })
})
