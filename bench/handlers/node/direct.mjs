// The handler behind Node's own HTTP server and nothing else: the floor that
// invocations are compared with.
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { handler } from './index.mjs';

createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    const deadline = Date.now() + 30_000;
    const context = {
      awsRequestId: randomUUID(),
      getRemainingTimeInMillis: () => deadline - Date.now(),
    };
    const result = await handler(JSON.parse(Buffer.concat(chunks)), context);
    const body = Buffer.from(JSON.stringify(result));
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length });
    response.end(body);
  });
}).listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
