export const handler = async (event, context) => ({
  message: `hello from Node.js ${process.version}`,
  input: event,
  requestId: context.awsRequestId,
  remainingMs: context.getRemainingTimeInMillis(),
});
