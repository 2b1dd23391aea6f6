locals {
  web_api = "2024-04-01"
  site_id = "[resourceId('Microsoft.Web/sites', parameters('name'))]"

  # The connection string is read while Azure deploys: it is in no plan.
  connection = "createObject('name', 'APPLICATIONINSIGHTS_CONNECTION_STRING', 'value', reference(parameters('insights'), '2020-02-02').ConnectionString)"

  function_template = {
    "$schema"      = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    contentVersion = "1.0.0.0"
    parameters = {
      name        = { type = "string" }
      location    = { type = "string" }
      tags        = { type = "object" }
      plan        = { type = "string" }
      identity    = { type = "string" }
      code        = { type = "string" }
      memory      = { type = "int" }
      subnet      = { type = "string" }
      insights    = { type = "string" }
      settings    = { type = "array" }
      access      = { type = "string" }
      application = { type = "object" }
    }
    resources = [
      {
        type       = "Microsoft.Web/sites"
        apiVersion = local.web_api
        name       = "[parameters('name')]"
        location   = "[parameters('location')]"
        kind       = "functionapp,linux"
        tags       = "[parameters('tags')]"
        identity = {
          type                   = "UserAssigned"
          userAssignedIdentities = { "[parameters('identity')]" = {} }
        }
        properties = {
          serverFarmId           = "[parameters('plan')]"
          httpsOnly              = true
          virtualNetworkSubnetId = "[if(empty(parameters('subnet')), null(), parameters('subnet'))]"
          functionAppConfig = {
            deployment = {
              storage = {
                type  = "blobContainer"
                value = "[parameters('code')]"
                authentication = {
                  type                           = "UserAssignedIdentity"
                  userAssignedIdentityResourceId = "[parameters('identity')]"
                }
              }
            }
            scaleAndConcurrency = { instanceMemoryMB = "[parameters('memory')]", maximumInstanceCount = 40 }
            runtime             = { name = "node", version = "24" }
          }
          siteConfig = {
            minTlsVersion                          = "1.2"
            scmMinTlsVersion                       = "1.2"
            ftpsState                              = "Disabled"
            ipSecurityRestrictionsDefaultAction    = "[parameters('access')]"
            scmIpSecurityRestrictionsDefaultAction = "Allow"
            scmIpSecurityRestrictionsUseMain       = false
            appSettings                            = "[concat(parameters('settings'), createArray(${local.connection}))]"
          }
        }
      },
      # Code comes in by Entra ID alone, not by a password.
      {
        type       = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
        apiVersion = local.web_api
        name       = "[format('{0}/scm', parameters('name'))]"
        properties = { allow = false }
        dependsOn  = [local.site_id]
      },
      {
        type       = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
        apiVersion = local.web_api
        name       = "[format('{0}/ftp', parameters('name'))]"
        properties = { allow = false }
        dependsOn  = [local.site_id]
      },
      {
        condition  = "[not(empty(parameters('application').id))]"
        type       = "Microsoft.Web/sites/config"
        apiVersion = local.web_api
        name       = "[format('{0}/authsettingsV2', parameters('name'))]"
        properties = {
          platform         = { enabled = true }
          globalValidation = { requireAuthentication = true, unauthenticatedClientAction = "Return401" }
          httpSettings     = { requireHttps = true }
          login            = { tokenStore = { enabled = false } }
          identityProviders = {
            azureActiveDirectory = {
              enabled = true
              registration = {
                clientId     = "[parameters('application').id]"
                openIdIssuer = "[parameters('application').issuer]"
              }
              validation = {
                allowedAudiences = ["[parameters('application').id]", "[concat('api://', parameters('application').id)]"]
                defaultAuthorizationPolicy = {
                  allowedPrincipals = { identities = "[parameters('application').principals]" }
                }
              }
            }
          }
        }
        dependsOn = [local.site_id]
      },
    ]
  }
}
